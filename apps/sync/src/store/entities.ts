/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Check, Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';
import type { ManifestEntry } from '../domain/manifest';

@Entity('tree')
@Unique('tree_workspace_content', ['workspace_id', 'content_hash'])
@Check('tree_content_hash', `content_hash ~ '^[0-9a-f]{64}$'`)
export class Tree {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'tree_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  content_hash!: string;

  /** Written once and read whole: one value, not a hundred thousand rows. */
  @Column({ type: 'jsonb' })
  manifest!: ManifestEntry[];

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('volume')
@Unique('volume_environment_name', ['workspace_id', 'environment', 'name'])
@Index('volume_workspace_id', ['workspace_id', 'id'])
@Check('volume_counts', 'revision >= 0 AND files >= 0 AND bytes >= 0')
export class Volume {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'volume_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  /** Its name: what an environment is, `workspace` knows. */
  @Column({ type: 'text', collation: 'C' })
  environment!: string;

  @Column({ type: 'text', collation: 'C' })
  name!: string;

  /** Of the head: a commit that changes something makes the next one, holding this row. */
  @Column({ type: 'bigint', default: 0 })
  revision!: string;

  @Column({ type: 'bigint', default: 0 })
  files!: string;

  @Column({ type: 'bigint', default: 0 })
  bytes!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  updated_at!: Date;
}

/** The head of a volume is its rows here. A row for each file, and not one manifest: a commit touches what it changes. */
@Entity('volume_file')
@Check('volume_file_link', `link IS NULL OR (size = 0 AND chunks = '{}')`)
@Check('volume_file_size', `(size = 0) = (chunks = '{}')`)
export class VolumeFileRow {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'volume_file_pkey' })
  @ForeignKey(() => Volume, { name: 'volume_file_volume', onDelete: 'CASCADE' })
  volume_id!: string;

  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'volume_file_pkey' })
  path!: string;

  @Column({ type: 'boolean' })
  executable!: boolean;

  @Column({ type: 'bigint' })
  size!: string;

  @Column({ type: 'text', array: true })
  chunks!: string[];

  /** The target of a symbolic link. */
  @Column({ type: 'text', nullable: true })
  link!: string | null;

  /** The commit that it came with. */
  @Column({ type: 'bigint' })
  revision!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  modified_at!: Date;
}
