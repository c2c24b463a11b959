/**
 * An input's state moves here and nowhere else. Each statement names the states that it may come from and the attempt
 * that it speaks of: of two writers one wins, and what is stale changes nothing.
 */
import type { Sql } from '@berth/database';
import type { OutboxRow } from '@berth/events';
import { ATTEMPTS_MAX, isTriedAgain, lostTooOften, type InputError } from '../domain/outcome';
import type { Definition } from '../domain/definition';
import type { Phase } from '../domain/phases';
import { retryDelayMs } from '../domain/retry-delay';
import { TRANSITIONS, type InputEvent } from '../domain/input-state';
import { CALL_VIEW, enqueueAttempt, type CallView } from './call-store';
import type { Input } from './entities';

export interface Attempt {
  inputId: string;
  attempt: number;
  containerId: string;
}

/** What the table says of an event, as SQL. */
const to = (event: InputEvent): string => `state = '${TRANSITIONS[event].to}'`;
const from = (event: InputEvent): string =>
  `state IN (${TRANSITIONS[event].from.map((state) => `'${state}'`).join(', ')})`;

/** The holder's word counts; the word of any other container only while nobody is known to hold the input. */
export const HELD = `(i.state = 'pending' OR (i.state = 'running' AND i.container_id = $3))`;

/** `start`: it runs there; saying so again changes nothing. False: stale, or its outcome came first. */
export async function markStarted(
  sql: Sql,
  on: Attempt & { containerPhases: Phase[] },
  startedAt: Date,
): Promise<boolean> {
  const rows = await sql.prepared(
    'mark-started',
    `UPDATE input i SET ${to('start')}, container_id = $3, started_at = $4, container_phases = $5
      WHERE id = $1 AND attempt = $2 AND (${from('start')} OR (state = 'running' AND container_id = $3))
      RETURNING id`,
    [on.inputId, on.attempt, on.containerId, startedAt, phasesOf(on)],
  );
  return rows.length > 0;
}

/**
 * `reclaim`: the queue gave the message out again, so whoever had it was silent for too long. Gives the new attempt to
 * run it as; undefined when that message is not the newest one, or the input has ended.
 */
export async function grantRedelivery(sql: Sql, on: Attempt, startedAt: Date): Promise<number | undefined> {
  const [row] = await sql.query<{ attempt: number }>(
    `UPDATE input SET ${to('reclaim')}, attempt = attempt + 1, container_id = $3, started_at = $4
      WHERE id = $1 AND published_attempt = $2 AND ${from('reclaim')}
      RETURNING attempt`,
    [on.inputId, on.attempt, on.containerId, startedAt],
  );
  return row?.attempt;
}

export interface Finished extends Attempt {
  startedAt: Date;
  finishedAt: Date;
  containerPhases: Phase[];
}

const phasesOf = ({ containerPhases }: { containerPhases: Phase[] }) =>
  containerPhases.length > 0 ? JSON.stringify(containerPhases) : null;

/** `succeed`. Undefined: stale. */
export async function recordSuccess(
  sql: Sql,
  on: Finished,
  result: { payload: Buffer; format: string; blob: string },
): Promise<CallView | undefined> {
  const [row] = await sql.prepared<CallView>(
    'record-success',
    `UPDATE input i SET ${to('succeed')}, result = $4, result_format = $5, result_blob = $9, container_id = $3, started_at = $6,
            finished_at = $7, recorded_at = now(), container_phases = $8
      WHERE id = $1 AND attempt = $2 AND ${from('succeed')} AND ${HELD} RETURNING ${CALL_VIEW}`,
    [
      on.inputId,
      on.attempt,
      on.containerId,
      result.payload,
      result.format,
      on.startedAt,
      on.finishedAt,
      phasesOf(on),
      result.blob || null,
    ],
  );
  return row;
}

/** The workspace whose input it is. */
export async function findWorkspace(sql: Sql, inputId: string): Promise<string | undefined> {
  const [row] = await sql.query<{ workspace_id: string }>(
    'SELECT workspace_id FROM call c JOIN input i ON i.call_id = c.id WHERE i.id = $1',
    [inputId],
  );
  return row?.workspace_id;
}

export type FailureRecord =
  | { kind: 'failed'; call: CallView }
  | { kind: 'retried'; outbox: OutboxRow }
  | { kind: 'delayed'; afterMs: number; functionId: string; version: number }
  | { kind: 'stale' };

/** `fail`, or `retry` under the next attempt while it has retries left: at once, or when its delay is over. */
export async function recordFailure(tx: Sql, on: Finished, error: InputError): Promise<FailureRecord> {
  const [held] = await tx.query<Pick<Input, 'failures'> & Pick<Definition, 'retries' | 'retry_delay'>>(
    `SELECT i.failures, (v.definition->>'retries')::integer AS retries, v.definition->'retry_delay' AS retry_delay
       FROM input i JOIN function_version v USING (function_id, version)
      WHERE i.id = $1 AND i.attempt = $2 AND i.${from('fail')} AND ${HELD} FOR UPDATE OF i`,
    [on.inputId, on.attempt, on.containerId],
  );
  if (!held) return { kind: 'stale' };
  const failures = held.failures + 1;
  if (isTriedAgain(failures, held.retries)) {
    const afterMs = retryDelayMs(held.retry_delay, failures);
    const [input] = await tx.query<Input>(
      `UPDATE input SET ${to('retry')}, failures = $2, attempt = attempt + 1, published_attempt = attempt + 1,
              container_id = NULL, started_at = NULL, last_error = $3,
              due_at = CASE WHEN $4::float8 > 0 THEN clock_timestamp() + make_interval(secs => $4 / 1000) END
        WHERE id = $1 RETURNING *`,
      [on.inputId, failures, JSON.stringify(error), afterMs],
    );
    if (afterMs > 0) {
      return { kind: 'delayed', afterMs, functionId: input!.function_id, version: input!.version };
    }
    return { kind: 'retried', outbox: await enqueueAttempt(tx, input!) };
  }
  const [call] = await tx.query<CallView>(
    `UPDATE input i SET ${to('fail')}, failures = $2, error = $3, container_id = $4, started_at = $5,
            finished_at = $6, recorded_at = now(), container_phases = $7
      WHERE id = $1 RETURNING ${CALL_VIEW}`,
    [on.inputId, failures, JSON.stringify(error), on.containerId, on.startedAt, on.finishedAt, phasesOf(on)],
  );
  return { kind: 'failed', call: call! };
}

/** Whether this very attempt, in this container, is what was recorded: a repeat of an outcome gets the same verdict. */
export async function isRecorded(sql: Sql, on: Attempt): Promise<boolean> {
  const rows = await sql.query(
    `SELECT 1 FROM input WHERE id = $1 AND attempt = $2 AND container_id = $3 AND state IN ('success', 'failure')`,
    [on.inputId, on.attempt, on.containerId],
  );
  return rows.length > 0;
}

/** Of these inputs, those that have ended. */
export async function endedAmong(sql: Sql, inputIds: string[]): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    'SELECT id FROM input WHERE id = ANY($1) AND finished_at IS NOT NULL',
    [inputIds],
  );
  return rows.map(({ id }) => id);
}

/** Inputs that one statement ends: those of a large map are ended a part at a time. */
const ENDED_MAX = 500;

const cancelled = (message: string): string =>
  JSON.stringify({ type: 'cancelled', message } satisfies InputError);

/** `terminate` for a single call. Empty where it had ended. */
export const terminateCall = (sql: Sql, callId: string) =>
  sql.query<CallView>(
    `UPDATE input i SET ${to('terminate')}, due_at = NULL, error = $2, finished_at = now(), recorded_at = now()
      WHERE call_id = $1 AND ${from('terminate')} RETURNING ${CALL_VIEW}`,
    [callId, cancelled('The call was cancelled.')],
  );

/** `terminate` for the open inputs of a map, a part at a time: only for one that takes no more inputs. */
export async function* terminateMap(sql: Sql, callId: string, message: string): AsyncGenerator<CallView[]> {
  let after = -1;
  for (;;) {
    const part = await sql.query<{ id: string; index: number }>(
      `SELECT id, index FROM input WHERE call_id = $1 AND index > $2 AND ${from('terminate')}
        ORDER BY index LIMIT ${ENDED_MAX}`,
      [callId, after],
    );
    if (part.length === 0) return;
    after = part.at(-1)!.index;
    yield await sql.query<CallView>(
      `UPDATE input i SET ${to('terminate')}, due_at = NULL, error = $2, finished_at = now(), recorded_at = now()
        WHERE id = ANY($1) AND ${from('terminate')} RETURNING ${CALL_VIEW}`,
      [part.map(({ id }) => id), cancelled(message)],
    );
  }
}

/** Inputs of one pool that are open, in the order in which they were accepted, as far as one statement ends them. */
const OPEN_PART = (states: string) =>
  `SELECT id FROM input WHERE function_id = $1 AND version = $2 AND finished_at IS NULL AND ${states}
    ORDER BY id LIMIT ${ENDED_MAX}`;

/** Runs a statement that ends a part of something until nothing is left. */
async function* inParts(end: () => Promise<CallView[]>): AsyncGenerator<CallView[]> {
  for (let ended = await end(); ended.length > 0; ended = await end()) yield ended;
}

/** `terminate` for all open inputs of a function version, a part at a time. */
export const terminateVersion = (sql: Sql, functionId: string, version: number, reason: string) =>
  inParts(() =>
    sql.query<CallView>(
      `UPDATE input i SET ${to('terminate')}, due_at = NULL, error = $3, finished_at = now(), recorded_at = now()
        WHERE id IN (${OPEN_PART(from('terminate'))}) AND ${from('terminate')} RETURNING ${CALL_VIEW}`,
      [functionId, version, cancelled(reason)],
    ),
  );

/**
 * `fail` for what waits for containers of a version that cannot come to be, a part at a time. What waits to be tried again
 * later is left: by then they may.
 */
export const failPending = (sql: Sql, functionId: string, version: number, error: InputError) =>
  inParts(() =>
    sql.query<CallView>(
      `UPDATE input i SET ${to('fail')}, error = $3, finished_at = now(), recorded_at = now()
        WHERE id IN (${OPEN_PART(`state = 'pending' AND due_at IS NULL`)}) AND state = 'pending' AND due_at IS NULL
        RETURNING ${CALL_VIEW}`,
      [functionId, version, JSON.stringify(error)],
    ),
  );

/**
 * `republish`: what ran in a container that is gone runs anew under the next attempt. An input that lost its container
 * too often ends as a failure instead.
 */
export async function reclaimContainer(
  tx: Sql,
  containerId: string,
): Promise<{ outbox: OutboxRow[]; failed: CallView[] }> {
  const failed = await tx.query<CallView>(
    `UPDATE input i SET ${to('fail')}, error = $2, finished_at = now(), recorded_at = now()
      WHERE container_id = $1 AND finished_at IS NULL AND state = 'running' AND attempt >= $3
      RETURNING ${CALL_VIEW}`,
    [containerId, JSON.stringify(lostTooOften()), ATTEMPTS_MAX],
  );
  const inputs = await tx.query<Input>(
    `UPDATE input SET ${to('republish')}, attempt = attempt + 1, published_attempt = attempt + 1,
            container_id = NULL, started_at = NULL
      WHERE container_id = $1 AND finished_at IS NULL AND state = 'running' RETURNING *`,
    [containerId],
  );
  const outbox: OutboxRow[] = [];
  for (const input of inputs) outbox.push(await enqueueAttempt(tx, input));
  return { outbox, failed };
}

/** Containers that run an input since before `before`. */
export const listHolders = (sql: Sql, before: Date) =>
  sql.query<{ container_id: string; function_id: string }>(
    `SELECT DISTINCT container_id, function_id FROM input
      WHERE finished_at IS NULL AND container_id IS NOT NULL AND started_at < $1`,
    [before],
  );

/** Inputs that have waited since before `before`, are not to be tried again later and are in no outbox, in the order of their ids. */
export const listLongPending = (sql: Sql, before: Date, after: string, limit: number) =>
  sql.query<Pick<Input, 'id' | 'function_id' | 'version'>>(
    `SELECT id, function_id, version FROM input
      WHERE finished_at IS NULL AND state = 'pending' AND due_at IS NULL AND accepted_at < $1 AND id > $2
        AND NOT EXISTS (SELECT 1 FROM outbox o
                         WHERE o.subject = 'berth.inputs.' || function_id || '.' || version || '.' || input.id)
      ORDER BY id LIMIT $3`,
    [before, after, limit],
  );

/** `republish` for one input whose message the queue no longer has. */
export async function republish(tx: Sql, inputId: string): Promise<OutboxRow | undefined> {
  const [input] = await tx.query<Input>(
    `UPDATE input SET ${to('republish')}, attempt = attempt + 1, published_attempt = attempt + 1
      WHERE id = $1 AND state = 'pending' AND due_at IS NULL RETURNING *`,
    [inputId],
  );
  return input && enqueueAttempt(tx, input);
}

/** The arguments of an input that still has to run. */
export async function findPayload(
  sql: Sql,
  inputId: string,
): Promise<Pick<Input, 'payload' | 'format'> | undefined> {
  const [row] = await sql.query<Pick<Input, 'payload' | 'format'>>(
    'SELECT payload, format FROM input WHERE id = $1 AND finished_at IS NULL',
    [inputId],
  );
  return row;
}

/** Messages of inputs that have ended, left by a process that died between publishing and deleting them. */
export const pruneOutbox = (sql: Sql) =>
  sql.query(
    `DELETE FROM outbox o USING input i
      WHERE o.subject = 'berth.inputs.' || i.function_id || '.' || i.version || '.' || i.id
        AND i.id = split_part(o.subject, '.', 5) AND i.finished_at IS NOT NULL`,
  );
