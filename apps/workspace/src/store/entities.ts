/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Check, Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';

@Entity('workspace')
@Unique('workspace_organization_name', ['organization_id', 'name'])
@Index('workspace_organization', ['organization_id', 'id'])
export class Workspace {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'workspace_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text' })
  name!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('environment')
@Unique('environment_workspace_name', ['workspace_id', 'name'])
export class Environment {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'environment_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => Workspace, { name: 'environment_workspace' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  name!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('secret')
@Unique('secret_environment_name', ['environment_id', 'name'])
@Index('secret_workspace_id', ['workspace_id', 'id'])
@Check('secret_variables', 'cardinality(variables) > 0')
export class Secret {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'secret_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => Workspace, { name: 'secret_workspace' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => Environment, { name: 'secret_environment' })
  environment_id!: string;

  @Column({ type: 'text', collation: 'C' })
  name!: string;

  /** The names of the variables; their values are in `sealed` only. */
  @Column({ type: 'text', array: true })
  variables!: string[];

  /** See seal.ts: JSON of the variables, closed under `key_id` for this row's id. */
  @Column({ type: 'bytea' })
  sealed!: Buffer;

  @Column({ type: 'text', collation: 'C' })
  key_id!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  updated_at!: Date;
}
