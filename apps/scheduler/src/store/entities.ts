/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Check, Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';
import type { ContainerState } from '../domain/container-state';
import type { GpuChoice } from '../domain/gpu';

export type NodeState = 'ready' | 'down';

@Entity('node')
@Check('node_state', `state IN ('ready', 'down')`)
@Check('node_engine', `engine IN ('docker', 'process', 'kubernetes')`)
@Check('node_size', 'millicores > 0 AND memory_mib > 0')
export class Node {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'node_pkey' })
  id!: string;

  /** Of its runner's process: another one means that the containers of the one before are gone. */
  @Column({ type: 'text' })
  incarnation!: string;

  @Column({ type: 'text' })
  name!: string;

  /** Null: any organization may run there. */
  @Column({ type: 'text', collation: 'C', nullable: true })
  organization_id!: string | null;

  @Column({ type: 'text' })
  engine!: string;

  @Column({ type: 'integer' })
  millicores!: number;

  @Column({ type: 'integer' })
  memory_mib!: number;

  @Column({ type: 'text' })
  state!: NodeState;

  @Column({ type: 'timestamptz' })
  last_heartbeat_at!: Date;
}

/** The last word of an owner. Kept when it wishes for nothing, so that an older word stays an older one. */
@Entity('wish')
@Check('wish_containers', 'containers >= 0')
export class Wish {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'wish_pkey' })
  owner!: string;

  @Column({ type: 'integer' })
  containers!: number;

  @Column({ type: 'bigint' })
  revision!: string;
}

export interface ContainerError {
  type: string;
  message: string;
  traceback?: string | undefined;
}

/** A step as JSON keeps it. */
export interface PhaseRow {
  name: string;
  started_at: string;
  duration_ms: number;
}

@Entity('container')
@Index('container_workspace', ['workspace_id', 'id'])
@Index('container_function', ['function_id', 'id'])
@Index('container_live_owner', ['owner'], { where: 'ended_at IS NULL' })
@Index('container_live_node', ['node_id'], { where: 'ended_at IS NULL' })
@Index('container_line', ['id'], { where: `state = 'pending'` })
@Index('container_end', ['ended_at'], { where: 'ended_at IS NOT NULL' })
@Check(
  'container_state',
  `state IN ('pending', 'assigned', 'starting', 'ready', 'stopping', 'stopped', 'failed', 'lost')`,
)
@Check('container_size', 'millicores > 0 AND memory_mib > 0')
@Check('container_place', '(node_id IS NULL) = (placed_at IS NULL)')
@Check('container_placed', `state IN ('pending', 'stopped') OR placed_at IS NOT NULL`)
@Check('container_pending', `state <> 'pending' OR placed_at IS NULL`)
@Check('container_ready', `state <> 'ready' OR ready_at IS NOT NULL`)
@Check('container_stopping', `state <> 'stopping' OR stopping_at IS NOT NULL`)
@Check('container_ended', `(state IN ('stopped', 'failed', 'lost')) = (ended_at IS NOT NULL)`)
@Check('container_error', `state <> 'failed' OR error IS NOT NULL`)
export class Container {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'container_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => Wish, { name: 'container_owner' })
  owner!: string;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  app_id!: string;

  @Column({ type: 'text', collation: 'C' })
  function_id!: string;

  @Column({ type: 'integer' })
  version!: number;

  /** The ContainerSpec as the runner gets it. */
  @Column({ type: 'bytea' })
  spec!: Buffer;

  @Column({ type: 'integer' })
  millicores!: number;

  @Column({ type: 'integer' })
  memory_mib!: number;

  @Column({ type: 'jsonb' })
  gpu!: GpuChoice[];

  @Column({ type: 'text' })
  state!: ContainerState;

  @Column({ type: 'text', collation: 'C', nullable: true })
  @ForeignKey(() => Node, { name: 'container_node' })
  node_id!: string | null;

  @Column({ type: 'timestamptz' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  placed_at!: Date | null;

  /** The runner's first report. */
  @Column({ type: 'timestamptz', nullable: true })
  started_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  ready_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  stopping_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  ended_at!: Date | null;

  @Column({ type: 'text', nullable: true })
  reason!: string | null;

  @Column({ type: 'jsonb', default: [] })
  phases!: PhaseRow[];

  @Column({ type: 'jsonb', nullable: true })
  error!: ContainerError | null;
}

@Entity('device')
@Unique('device_node_index', ['node_id', 'index'])
@Index('device_holder', ['container_id'], { where: 'container_id IS NOT NULL' })
@Check('device_size', 'index >= 0 AND memory_mib >= 0')
export class Device {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'device_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => Node, { name: 'device_node' })
  node_id!: string;

  @Column({ type: 'integer' })
  index!: number;

  @Column({ type: 'text' })
  model!: string;

  @Column({ type: 'integer' })
  memory_mib!: number;

  @Column({ type: 'text' })
  uuid!: string;

  @Column({ type: 'boolean' })
  simulated!: boolean;

  /** The one container that holds the card; it lets go in the transaction that ends it. */
  @Column({ type: 'text', collation: 'C', nullable: true })
  @ForeignKey(() => Container, { name: 'device_container' })
  container_id!: string | null;

  /** The node no longer has it: given to nobody any more, and removed when nobody holds it. */
  @Column({ type: 'boolean', default: false })
  gone!: boolean;
}
