/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import { Check, Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';
import type { ImageDefinition } from '../domain/image-definition';
import type { ImageError, ImageState } from '../domain/image-state';
import type { InputState } from '../domain/input-state';
import type { InputError } from '../domain/outcome';
import type { Phase } from '../domain/phases';
import type { Definition, Schedule } from '../domain/definition';
import type { WebhookState } from '../domain/webhook';
import type { DeployedVersion } from '../domain/deployment';

export type AppState = 'ephemeral' | 'deployed' | 'stopped';

@Entity('app')
@Index('app_live_name', ['workspace_id', 'environment', 'name'], {
  unique: true,
  where: `state = 'deployed'`,
})
@Index('app_silent', ['heartbeat_at'], { where: `state = 'ephemeral'` })
@Index('app_workspace', ['workspace_id', 'id'])
@Check('app_state', `state IN ('ephemeral', 'deployed', 'stopped')`)
@Check('app_stopped', `(state = 'stopped') = (stopped_at IS NOT NULL)`)
@Check('app_heartbeat', `state <> 'ephemeral' OR heartbeat_at IS NOT NULL`)
export class App {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'app_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  /** The environment's name. */
  @Column({ type: 'text', collation: 'C' })
  environment!: string;

  @Column({ type: 'text', collation: 'C' })
  name!: string;

  @Column({ type: 'text', default: 'deployed' })
  state!: AppState;

  @Column({ type: 'jsonb', default: {} })
  tags!: Record<string, string>;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  stopped_at!: Date | null;

  /** When the client of an ephemeral app was last heard. */
  @Column({ type: 'timestamptz', nullable: true })
  heartbeat_at!: Date | null;
}

/** Which versions the functions of an app had at one time. */
@Entity('deployment')
@Check('deployment_rollback', 'rollback_of < number')
export class Deployment {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'deployment_pkey' })
  @ForeignKey(() => App, { name: 'deployment_app' })
  app_id!: string;

  @PrimaryColumn({ type: 'integer', primaryKeyConstraintName: 'deployment_pkey' })
  number!: number;

  @Column({ type: 'jsonb' })
  functions!: DeployedVersion[];

  /** The deployment that this one went back to. */
  @Column({ type: 'integer', nullable: true })
  rollback_of!: number | null;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('function')
@Index('function_parameters', ['base_id', 'parameters'], { unique: true, where: 'base_id IS NOT NULL' })
@Check('function_bound', '(base_id IS NULL) = (parameters IS NULL)')
@Index('function_live_name', ['app_id', 'name'], { unique: true, where: 'deleted_at IS NULL' })
@Unique('function_web_label', ['web_label'])
export class Func {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'function_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => App, { name: 'function_app' })
  app_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  name!: string;

  /** Under what it answers on the web, where it does: one DNS name, for its whole life. */
  @Column({ type: 'text', collation: 'C' })
  web_label!: string;

  /** The one that new calls run. */
  @Column({ type: 'integer', default: 1 })
  version!: number;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  /** Of a class with parameters: the function that it is bound from, and follows. */
  @Column({ type: 'text', collation: 'C', nullable: true })
  @ForeignKey(() => Func, { name: 'function_base' })
  base_id!: string | null;

  /** A JSON object, its keys in order. */
  @Column({ type: 'text', nullable: true })
  parameters!: string | null;

  /** It takes no more calls, and its name is free. */
  @Column({ type: 'timestamptz', nullable: true })
  deleted_at!: Date | null;
}

@Entity('function_version')
@Index('function_version_minimum', ['function_id', 'version'], {
  where: `(definition->>'min_containers')::integer > 0`,
})
export class FunctionVersion {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'function_version_pkey' })
  @ForeignKey(() => Func, { name: 'function_version_function' })
  function_id!: string;

  @PrimaryColumn({ type: 'integer', primaryKeyConstraintName: 'function_version_pkey' })
  version!: number;

  /** Checked and complete when it was written; whoever adds to it gives earlier rows a value by a migration. */
  @Column({ type: 'jsonb' })
  definition!: Definition;

  /** A tree of sync. */
  @Column({ type: 'text', collation: 'C' })
  source!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

/** Numbers of type bigint are strings in rows. */
@Entity('pool')
@ForeignKey(() => FunctionVersion, ['function_id', 'version'], ['function_id', 'version'], {
  name: 'pool_version',
})
@Index('pool_active', ['function_id'], { where: 'retired_at IS NULL AND wish > 0' })
@Index('pool_unheard', ['function_id'], { where: 'heard_revision < revision' })
@Check('pool_wish', 'wish >= 0 AND heard_revision <= revision')
@Check('pool_retired', 'retired_at IS NULL OR wish = 0')
export class Pool {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'pool_pkey' })
  function_id!: string;

  @PrimaryColumn({ type: 'integer', primaryKeyConstraintName: 'pool_pkey' })
  version!: number;

  /** Containers that there should be. */
  @Column({ type: 'integer', default: 0 })
  wish!: number;

  /** Grows with each word to the scheduler. */
  @Column({ type: 'bigint', default: 0 })
  revision!: string;

  /** The newest revision that the scheduler has answered. */
  @Column({ type: 'bigint', default: 0 })
  heard_revision!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  needed_at!: Date;

  /** Containers that failed in a row before they were ready. */
  @Column({ type: 'integer', default: 0 })
  failures!: number;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  failed_at!: Date;

  /** The last of them failed by what it loads. */
  @Column({ type: 'boolean', default: false })
  failed_by_user!: boolean;

  /** Nothing will run in it any more, and its queue is gone. */
  @Column({ type: 'timestamptz', nullable: true })
  retired_at!: Date | null;
}

export type CallKind = 'single' | 'map';

@Entity('call')
@Index('call_function', ['function_id', 'id'])
@Index('call_repeat', ['function_id', 'idempotency_key'], {
  unique: true,
  where: 'idempotency_key IS NOT NULL',
})
@Index('call_in_ending', ['id'], { where: 'ending' })
@Check('call_request', '(idempotency_key IS NULL) = (request_hash IS NULL)')
@Check('call_kind', `kind IN ('single', 'map')`)
@Check('call_counts', 'num_succeeded + num_failed + num_terminated <= num_inputs')
@Check('call_ending', 'NOT ending OR closed_at IS NOT NULL')
export class Call {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'call_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  function_id!: string;

  @Column({ type: 'integer' })
  version!: number;

  @Column({ type: 'text', collation: 'C', nullable: true })
  idempotency_key!: string | null;

  @Column({ type: 'bytea', nullable: true })
  request_hash!: Buffer | null;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  /** A single call has one input from the start, index 0; a map is given its inputs until it is closed. */
  @Column({ type: 'text', default: 'single' })
  kind!: CallKind;

  @Column({ type: 'integer', default: 1 })
  num_inputs!: number;

  /** Of a map, from here on: what its numbered outputs come to. */
  @Column({ type: 'integer', default: 0 })
  num_succeeded!: number;

  @Column({ type: 'integer', default: 0 })
  num_failed!: number;

  @Column({ type: 'integer', default: 0 })
  num_terminated!: number;

  @Column({ type: 'timestamptz', nullable: true })
  first_started_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  last_finished_at!: Date | null;

  /** It takes no more inputs. */
  @Column({ type: 'timestamptz', nullable: true })
  closed_at!: Date | null;

  /** Somebody cancelled it, before all its inputs had ended. */
  @Column({ type: 'timestamptz', nullable: true })
  cancelled_at!: Date | null;

  /** Its open inputs are being terminated; whoever finds it so goes on with that. */
  @Column({ type: 'boolean', default: false })
  ending!: boolean;
}

@Entity('input')
@Unique('input_call_index', ['call_id', 'index'])
@Index('input_entry', ['call_id', 'entry'], { unique: true, where: 'entry IS NOT NULL' })
@Index('input_unnumbered', ['call_id'], {
  where: 'in_map AND finished_at IS NOT NULL AND entry IS NULL',
})
@Index('input_open', ['function_id', 'version', 'id'], { where: 'finished_at IS NULL' })
@Index('input_container', ['container_id'], {
  where: 'finished_at IS NULL AND container_id IS NOT NULL',
})
@Index('input_due_at', ['due_at'], { where: 'due_at IS NOT NULL' })
@Check('input_due', `due_at IS NULL OR state = 'pending'`)
@Check('input_state', `state IN ('pending', 'running', 'success', 'failure', 'terminated')`)
@Check('input_attempt', 'attempt >= published_attempt AND published_attempt >= 1')
@Check('input_final', `(state IN ('success', 'failure', 'terminated')) = (finished_at IS NOT NULL)`)
@Check('input_success', `(state = 'success') = (result IS NOT NULL)`)
@Check('input_failure', `state <> 'failure' OR error IS NOT NULL`)
@Check('input_entry_final', 'entry IS NULL OR finished_at IS NOT NULL')
@Check('input_running', `state <> 'running' OR container_id IS NOT NULL`)
export class Input {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'input_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  @ForeignKey(() => Call, { name: 'input_call' })
  call_id!: string;

  @Column({ type: 'integer', default: 0 })
  index!: number;

  @Column({ type: 'text', collation: 'C' })
  function_id!: string;

  @Column({ type: 'integer' })
  version!: number;

  @Column({ type: 'text', default: 'pending' })
  state!: InputState;

  /** The fence: what an older attempt says is stale. */
  @Column({ type: 'integer', default: 1 })
  attempt!: number;

  /** The attempt that the newest message in the queue names; a redelivery of an older message is stale. */
  @Column({ type: 'integer', default: 1 })
  published_attempt!: number;

  /** Attempts that ended in a failure; those whose container was lost do not count. */
  @Column({ type: 'integer', default: 0 })
  failures!: number;

  /** Set while it waits to be tried again: no message of it is in the queue before. */
  @Column({ type: 'timestamptz', nullable: true })
  due_at!: Date | null;

  /** Why its attempt before this one failed. */
  @Column({ type: 'jsonb', nullable: true })
  last_error!: InputError | null;

  @Column({ type: 'text' })
  format!: string;

  @Column({ type: 'bytea' })
  payload!: Buffer;

  /** The tree of sync that holds the payload, which is empty here. */
  @Column({ type: 'text', collation: 'C', nullable: true })
  payload_blob!: string | null;

  @Column({ type: 'text', collation: 'C', nullable: true })
  container_id!: string | null;

  @Column({ type: 'bytea', nullable: true })
  result!: Buffer | null;

  @Column({ type: 'text', nullable: true })
  result_format!: string | null;

  /** The tree of sync that holds the result, which is empty here. */
  @Column({ type: 'text', collation: 'C', nullable: true })
  result_blob!: string | null;

  @Column({ type: 'jsonb', nullable: true })
  error!: InputError | null;

  /** How its container came to be, when it was the first to run there. */
  @Column({ type: 'jsonb', nullable: true })
  container_phases!: Phase[] | null;

  @Column({ type: 'text', default: '' })
  traceparent!: string;

  @Column({ type: 'timestamptz' })
  accepted_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  started_at!: Date | null;

  /** By the runner's clock, where one ran it. */
  @Column({ type: 'timestamptz', nullable: true })
  finished_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  recorded_at!: Date | null;

  @Column({ type: 'boolean', default: false })
  in_map!: boolean;

  /** Its outcome's place in the log of its map's outputs, from 1, given when that is next looked at. */
  @Column({ type: 'integer', nullable: true })
  entry!: number | null;
}

@Entity('image')
@Unique('image_content', ['workspace_id', 'content_hash'])
@Index('image_open', ['queued_at'], { where: `state IN ('queued', 'building')` })
@Index('image_finished', ['finished_at'])
@Check('image_state', `state IN ('queued', 'building', 'ready', 'failed')`)
@Check('image_lease', `(state = 'building') = (lease_until IS NOT NULL)`)
@Check('image_final', `(state IN ('ready', 'failed')) = (finished_at IS NOT NULL)`)
@Check('image_error', `(state = 'failed') = (error IS NOT NULL)`)
export class Image {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'image_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  /** SHA-256 over the definition, in hex. */
  @Column({ type: 'text', collation: 'C' })
  content_hash!: string;

  @Column({ type: 'jsonb' })
  definition!: ImageDefinition;

  @Column({ type: 'text', default: 'queued' })
  state!: ImageState;

  /** The fence: what an older attempt says is stale. */
  @Column({ type: 'integer', default: 0 })
  attempt!: number;

  /** Attempts in a row that ended with their runner. */
  @Column({ type: 'integer', default: 0 })
  losses!: number;

  /** Who builds it, or built it last. */
  @Column({ type: 'text', collation: 'C', nullable: true })
  node_id!: string | null;

  /** Until then it is that node's. */
  @Column({ type: 'timestamptz', nullable: true })
  lease_until!: Date | null;

  @Column({ type: 'jsonb', nullable: true })
  error!: ImageError | null;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  queued_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  started_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  finished_at!: Date | null;
}

/** What a generator yielded in an input: its first attempt to do so counts. */
@Entity('item')
@Check('item_index', 'index >= 0')
export class Item {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'item_pkey' })
  @ForeignKey(() => Input, { name: 'item_input' })
  input_id!: string;

  @PrimaryColumn({ type: 'integer', primaryKeyConstraintName: 'item_pkey' })
  index!: number;

  @Column({ type: 'bytea' })
  payload!: Buffer;
}

/** When a function is called by itself next. */
@Entity('schedule')
@Index('schedule_next', ['next_at'])
export class ScheduleRow {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'schedule_pkey' })
  @ForeignKey(() => Func, { name: 'schedule_function' })
  function_id!: string;

  @Column({ type: 'jsonb' })
  schedule!: Schedule;

  /** The first moment that has not become a call. */
  @Column({ type: 'timestamptz' })
  next_at!: Date;
}

/** Who is to be told of a call's end, and whether that was done. */
@Entity('webhook')
@Index('webhook_waiting', ['call_id'], { where: `state = 'waiting'` })
@Index('webhook_due', ['next_at'], { where: 'next_at IS NOT NULL' })
@Check('webhook_state', `state IN ('waiting', 'pending', 'delivered', 'failed')`)
@Check('webhook_next', `(state = 'pending') = (next_at IS NOT NULL)`)
export class WebhookRow {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'webhook_pkey' })
  @ForeignKey(() => Call, { name: 'webhook_call' })
  call_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text' })
  host!: string;

  /** URL and secret. */
  @Column({ type: 'bytea' })
  sealed!: Buffer;

  @Column({ type: 'text', default: 'waiting' })
  state!: WebhookState;

  @Column({ type: 'integer', default: 0 })
  attempts!: number;

  /** When its call was seen to have ended: from then on it is tried for a day. */
  @Column({ type: 'timestamptz', nullable: true })
  ended_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  next_at!: Date | null;

  @Column({ type: 'text', nullable: true })
  last_error!: string | null;
}

/** A shell that may have a container. */
@Entity('shell')
@Index('shell_workspace', ['workspace_id'])
@Index('shell_heard', ['heard_at'])
export class Shell {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'shell_pkey' })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  /** Of its container, as the scheduler has it: what takes the wish back names it too. */
  @Column({ type: 'bytea' })
  spec!: Buffer;

  /** When whoever holds it was last there. */
  @Column({ type: 'timestamptz', default: () => 'now()' })
  heard_at!: Date;
}
