import { isId, newId, type Page, type Sql } from '@berth/database';
import { encodeInput, REFERENCE_BYTES, type OutboxRow } from '@berth/events';
import type { MapFacts } from '../domain/map';
import type { Call, Input } from './entities';

export interface NewCall {
  workspaceId: string;
  functionId: string;
  idempotencyKey: string | undefined;
  /** Of the request: a repeat must be the same one. Undefined exactly if there is no key. */
  requestHash: Buffer | undefined;
  format: string;
  payload: Buffer;
  /** The tree that holds the payload, which is empty then. */
  blob?: string | undefined;
  traceparent: string;
  acceptedAt: Date;
  /** On disk when the statement has ended; else with the next commit that is, or never when Postgres dies before. */
  durable: boolean;
}

export interface AcceptedCall {
  callId: string;
  inputId: string;
  version: number;
  /** The message to the queue, committed with the call: publish it. */
  outbox: OutboxRow;
}

const SUBJECT = `'berth.inputs.' || c.function_id || '.' || c.version || '.'`;

/**
 * Writes call, input and outbox row in one statement, if the function is of this workspace and its app takes calls,
 * and no call has the key yet. Undefined: one of these is not so.
 */
export async function acceptCall(sql: Sql, call: NewCall): Promise<AcceptedCall | undefined> {
  if (!isId('fu', call.functionId)) return undefined;
  const [callId, inputId] = [newId('fc'), newId('in')];
  const message = encodeInput({
    inputId,
    callId,
    functionId: call.functionId,
    version: 0, // Only in the subject, which the statement below makes.
    attempt: 1,
    format: call.format,
    acceptedAt: call.acceptedAt.getTime(),
    traceparent: call.traceparent,
    payload: call.payload.length > REFERENCE_BYTES ? undefined : call.payload,
    blob: call.blob,
  });
  const headers = headersOf(message.headers);
  const [row] = await sql.prepared<{ id: string; subject: string; version: number }>(
    call.durable ? 'accept-call' : 'accept-call-unflushed',
    `WITH commit AS (
       SELECT set_config('synchronous_commit', ${call.durable ? `current_setting('synchronous_commit')` : `'off'`}, true) AS mode
     ), c AS (
       INSERT INTO call (id, workspace_id, function_id, version, idempotency_key, request_hash, created_at)
       SELECT $1, f.workspace_id, f.id, f.version, $4, $5, $10
         FROM function f JOIN app a ON a.id = f.app_id, commit
        WHERE f.id = $3 AND f.workspace_id = $2 AND a.stopped_at IS NULL AND f.deleted_at IS NULL AND commit.mode IS NOT NULL
       ON CONFLICT (function_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
       RETURNING id, function_id, version
     ), i AS (
       INSERT INTO input (id, call_id, function_id, version, format, payload, traceparent, accepted_at,
                          payload_blob)
       SELECT $6, c.id, c.function_id, c.version, $7, $8, $9, $10, $13 FROM c
     )
     INSERT INTO outbox (subject, payload, headers)
     SELECT ${SUBJECT} || $6, $11, $12 FROM c
     RETURNING id, subject, (SELECT version FROM c) AS version`,
    [
      callId,
      call.workspaceId,
      call.functionId,
      call.idempotencyKey ?? null,
      call.requestHash ?? null,
      inputId,
      call.format,
      call.payload,
      call.traceparent,
      call.acceptedAt,
      message.data,
      JSON.stringify(headers),
      call.blob ?? null,
    ],
  );
  if (!row) return undefined;
  const outbox = { id: row.id, subject: row.subject, payload: message.data, headers };
  return { callId, inputId, version: row.version, outbox };
}

/** The message of an input's attempt, in the outbox of this transaction. */
export async function enqueueAttempt(
  tx: Sql,
  input: Pick<
    Input,
    | 'id'
    | 'call_id'
    | 'function_id'
    | 'version'
    | 'attempt'
    | 'format'
    | 'traceparent'
    | 'accepted_at'
    | 'payload'
    | 'payload_blob'
  >,
): Promise<OutboxRow> {
  const { subject, headers, data } = encodeInput({
    inputId: input.id,
    callId: input.call_id,
    functionId: input.function_id,
    version: input.version,
    attempt: input.attempt,
    format: input.format,
    acceptedAt: input.accepted_at.getTime(),
    traceparent: input.traceparent,
    payload: input.payload.length > REFERENCE_BYTES ? undefined : input.payload,
    blob: input.payload_blob ?? undefined,
  });
  const record = headersOf(headers);
  const [row] = await tx.query<{ id: string }>(
    'INSERT INTO outbox (subject, payload, headers) VALUES ($1, $2, $3) RETURNING id',
    [subject, data, JSON.stringify(record)],
  );
  return { id: row!.id, subject, payload: data, headers: record };
}

/** As the outbox keeps them. */
export const headersOf = (headers: Iterable<[string, string[]]>): Record<string, string> =>
  Object.fromEntries([...headers].map(([key, [value]]) => [key, value ?? '']));

/** The call that was made under this key, if one was. */
export async function findRepeated(
  sql: Sql,
  functionId: string,
  idempotencyKey: string,
): Promise<Pick<Call, 'id' | 'request_hash'> | undefined> {
  const [row] = await sql.query<Pick<Call, 'id' | 'request_hash'>>(
    'SELECT id, request_hash FROM call WHERE function_id = $1 AND idempotency_key = $2',
    [functionId, idempotencyKey],
  );
  return row;
}

/** A call with its one input: what is shown of it. */
export type CallView = Pick<
  Input,
  | 'call_id'
  | 'function_id'
  | 'version'
  | 'state'
  | 'attempt'
  | 'container_id'
  | 'result'
  | 'result_format'
  | 'result_blob'
  | 'error'
  | 'container_phases'
  | 'accepted_at'
  | 'started_at'
  | 'finished_at'
  | 'recorded_at'
> & { input_id: string };

export const CALL_VIEW = `
  i.call_id, i.id AS input_id, i.function_id, i.version, i.state, i.attempt, i.container_id, i.result, i.result_format, i.result_blob, i.error,
  i.container_phases, i.accepted_at, i.started_at, i.finished_at, i.recorded_at`;

/** A call with many inputs: what is shown of it. Its counts are those of its numbered outputs. */
export type MapView = Pick<
  Call,
  'function_id' | 'version' | 'created_at' | 'first_started_at' | 'last_finished_at'
> &
  MapFacts & { kind: 'map'; call_id: string };

export const isMap = (call: CallView | MapView): call is MapView => 'kind' in call && call.kind === 'map';

/** Inputs of a map of which none has ended: if one runs, it is among the first so many. */
const RUNNING_AMONG = 1000;

/** A map (c) takes no more inputs: somebody said so, or nobody calls its function any more. */
export const IS_CLOSED = `(c.closed_at IS NOT NULL OR EXISTS (
    SELECT FROM function f JOIN app a ON a.id = f.app_id
     WHERE f.id = c.function_id AND (a.stopped_at IS NOT NULL OR f.deleted_at IS NOT NULL)))`;

/** What a row of `call` (c) and, for a single one, its `input` (i) shows. */
const FOUND = `
  c.kind, ${CALL_VIEW}, c.id AS call_id, c.function_id, c.version, c.created_at, c.first_started_at, c.last_finished_at,
  c.num_inputs, c.num_succeeded, c.num_failed, c.num_terminated, c.kind = 'map' AND ${IS_CLOSED} AS closed,
  c.cancelled_at IS NOT NULL AS cancelled,
  c.kind = 'map' AND EXISTS (
    SELECT FROM (SELECT state FROM input first WHERE first.call_id = c.id ORDER BY index LIMIT ${RUNNING_AMONG}) AS first
     WHERE first.state = 'running') AS runs`;
const SINGLE_INPUT = `LEFT JOIN input i ON i.call_id = c.id AND i.index = 0 AND c.kind = 'single'`;

/** A call of this workspace. */
export async function findCall(
  sql: Sql,
  workspaceId: string,
  id: string,
): Promise<CallView | MapView | undefined> {
  if (!isId('fc', id)) return undefined;
  const [row] = await sql.prepared<CallView | MapView>(
    'find-call',
    `SELECT ${FOUND} FROM call c ${SINGLE_INPUT} WHERE c.id = $1 AND c.workspace_id = $2`,
    [id, workspaceId],
  );
  return row;
}

/** Results that are read for one page of calls. Bytes. */
const PAGE_BYTES_MAX = 8 * 1024 * 1024;

/**
 * One page of a function's calls, newest first, and whether there are more. It ends early, but is never empty, where the
 * results on it come to more than PAGE_BYTES_MAX.
 */
export async function listCallRows(
  sql: Sql,
  functionId: string,
  { limit, after }: Page,
): Promise<{ rows: (CallView | MapView)[]; more: boolean }> {
  const found = await sql.query<(CallView | MapView) & { listed: number }>(
    `WITH listed AS (
       SELECT c.id, row_number() OVER newest AS number,
              sum(octet_length(coalesce(i.result, ''))) OVER newest AS bytes
         FROM call c ${SINGLE_INPUT}
        WHERE c.function_id = $1 AND ($2::text IS NULL OR c.id < $2)
       WINDOW newest AS (ORDER BY c.id DESC)
        ORDER BY c.id DESC LIMIT $3
     )
     SELECT ${FOUND}, (SELECT count(*)::integer FROM listed) AS listed
       FROM listed JOIN call c USING (id) ${SINGLE_INPUT}
      WHERE number <= $4 AND (bytes <= $5 OR number = 1)
      ORDER BY number`,
    [functionId, after ?? null, limit + 1, limit, PAGE_BYTES_MAX],
  );
  return { rows: found, more: found.length < (found[0]?.listed ?? 0) };
}

/** Of the same page, maps with outcomes that are not numbered yet. */
export async function listUncounted(sql: Sql, functionId: string, { limit, after }: Page): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `SELECT id FROM (SELECT id, kind FROM call WHERE function_id = $1 AND ($2::text IS NULL OR id < $2)
                      ORDER BY id DESC LIMIT $3) AS listed
      WHERE kind = 'map' AND EXISTS (
        SELECT FROM input i
         WHERE i.call_id = listed.id AND in_map AND finished_at IS NOT NULL AND entry IS NULL)`,
    [functionId, after ?? null, limit],
  );
  return rows.map(({ id }) => id);
}

/** The first input of a map that waits. */
export async function findFirstPending(sql: Sql, callId: string): Promise<string | undefined> {
  const [row] = await sql.query<{ id: string }>(
    `SELECT id FROM input WHERE call_id = $1 AND state = 'pending' ORDER BY index LIMIT 1`,
    [callId],
  );
  return row?.id;
}

/** How many inputs of the same pool were accepted before this one and still wait. */
export async function countAhead(
  sql: Sql,
  call: Pick<CallView, 'function_id' | 'version' | 'input_id'>,
): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM input
      WHERE function_id = $1 AND version = $2 AND finished_at IS NULL AND state = 'pending' AND due_at IS NULL AND id < $3`,
    [call.function_id, call.version, call.input_id],
  );
  return row!.count;
}

/** Of these calls, those that are there. */
export const findCalls = (sql: Sql, callIds: string[]) =>
  sql.query<CallView>(`SELECT ${CALL_VIEW} FROM input i WHERE i.call_id = ANY($1) AND i.index = 0`, [
    callIds,
  ]);
