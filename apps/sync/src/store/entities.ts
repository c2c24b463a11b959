/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Check, Column, Entity, PrimaryColumn, Unique } from 'typeorm';
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
