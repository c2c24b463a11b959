/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** What one container held from one moment to another. Written once, never changed. */
@Entity('usage_interval')
@Index('usage_interval_workspace', ['workspace_id', 'started_at', 'container_id', 'sequence'])
@Check('usage_interval_span', 'ended_at >= started_at')
@Check('usage_interval_held', 'sequence >= 0 AND millicores >= 0 AND memory >= 0')
export class UsageInterval {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'usage_interval_pkey' })
  container_id!: string;

  /** Counts a container's intervals from 0. */
  @PrimaryColumn({ type: 'integer', primaryKeyConstraintName: 'usage_interval_pkey' })
  sequence!: number;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  app_id!: string;

  @Column({ type: 'text', collation: 'C' })
  function_id!: string;

  @Column({ type: 'text', collation: 'C' })
  node_id!: string;

  /** By the runner's clock, as is `ended_at`. */
  @Column({ type: 'timestamptz' })
  started_at!: Date;

  @Column({ type: 'timestamptz' })
  ended_at!: Date;

  /** Thousandths of a core: money is counted from it, so it is no fraction. */
  @Column({ type: 'integer' })
  millicores!: number;

  /** MiB. */
  @Column({ type: 'integer' })
  memory!: number;

  /** The model of each card; simulated ones end in `-simulated`. */
  @Column({ type: 'text', array: true, default: [] })
  gpu!: string[];

  /** The container ended with it. */
  @Column({ type: 'boolean', default: false })
  last!: boolean;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  received_at!: Date;
}
