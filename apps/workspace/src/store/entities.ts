/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';

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
