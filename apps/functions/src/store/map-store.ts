/**
 * Calls with many inputs. The row of the call is the referee: whoever puts inputs, closes it, ends it or numbers its
 * outputs holds its lock. Recording an outcome does not: it would make all inputs of a map end one after the other.
 */
import { isId, newId, type Database, type Sql } from '@berth/database';
import { encodeInput, REFERENCE_BYTES, type OutboxRow } from '@berth/events';
import type { Definition } from '../domain/definition';
import type { MapFacts } from '../domain/map';
import type { PayloadFormat } from '../domain/payload';
import { headersOf, IS_CLOSED } from './call-store';
import type { Call, Input } from './entities';

export interface NewMap {
  workspaceId: string;
  functionId: string;
  idempotencyKey: string | undefined;
  requestHash: Buffer | undefined;
  closed: boolean;
}

export type OpenedMap = Pick<Call, 'id' | 'function_id' | 'version'>;

/** A call without inputs yet, under the same conditions as `acceptCall`. */
export async function insertMap(tx: Sql, map: NewMap): Promise<OpenedMap | undefined> {
  if (!isId('fu', map.functionId)) return undefined;
  const [row] = await tx.query<OpenedMap>(
    `INSERT INTO call (id, workspace_id, function_id, version, idempotency_key, request_hash, kind, num_inputs, closed_at)
     SELECT $1, f.workspace_id, f.id, f.version, $4, $5, 'map', 0, CASE WHEN $6 THEN now() END
       FROM function f JOIN app a ON a.id = f.app_id
      WHERE f.id = $3 AND f.workspace_id = $2 AND a.stopped_at IS NULL AND f.deleted_at IS NULL
     ON CONFLICT (function_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
     RETURNING id, function_id, version`,
    [
      newId('fc'),
      map.workspaceId,
      map.functionId,
      map.idempotencyKey ?? null,
      map.requestHash ?? null,
      map.closed,
    ],
  );
  return row;
}

export type LockedMap = OpenedMap &
  Omit<MapFacts, 'cancelled' | 'runs'> & {
    app_stopped: boolean;
    function_deleted: boolean;
    definition: Pick<Definition, 'max_containers' | 'max_concurrent_inputs'>;
  };

/** A map of this workspace, locked against others that put inputs to it, close it or end it. */
export async function lockMap(tx: Sql, workspaceId: string, callId: string): Promise<LockedMap | undefined> {
  const [row] = await tx.query<LockedMap>(
    `SELECT c.id, c.function_id, c.version, c.num_inputs, c.num_succeeded, c.num_failed, c.num_terminated,
            c.closed_at IS NOT NULL AS closed, a.stopped_at IS NOT NULL AS app_stopped,
            f.deleted_at IS NOT NULL AS function_deleted,
            jsonb_build_object('max_containers', v.definition->'max_containers',
                               'max_concurrent_inputs', v.definition->'max_concurrent_inputs') AS definition
       FROM call c JOIN function f ON f.id = c.function_id JOIN app a ON a.id = f.app_id
       JOIN function_version v ON v.function_id = c.function_id AND v.version = c.version
      WHERE c.id = $1 AND c.workspace_id = $2 AND c.kind = 'map' FOR NO KEY UPDATE OF c`,
    [callId, workspaceId],
  );
  return row;
}

export interface NewInput {
  index: number;
  format: PayloadFormat;
  payload: Buffer;
  blob: string | undefined;
}

/** Of these indexes, those that have an input. */
export async function findIndexes(tx: Sql, callId: string, indexes: number[]): Promise<Set<number>> {
  const rows = await tx.query<{ index: number }>(
    'SELECT index FROM input WHERE call_id = $1 AND index = ANY($2::integer[])',
    [callId, indexes],
  );
  return new Set(rows.map(({ index }) => index));
}

/** Of these inputs, the first whose index has another one. */
export async function findContradicted(
  tx: Sql,
  callId: string,
  inputs: readonly NewInput[],
): Promise<number | undefined> {
  const [row] = await tx.query<{ index: number }>(
    `SELECT i.index
       FROM unnest($2::integer[], $3::text[], $4::bytea[], $5::text[]) AS u (index, format, payload, blob)
       JOIN input i ON i.call_id = $1 AND i.index = u.index
      WHERE i.payload <> u.payload OR i.format <> u.format OR i.payload_blob IS DISTINCT FROM u.blob ORDER BY i.index LIMIT 1`,
    [
      callId,
      inputs.map(({ index }) => index),
      inputs.map(({ format }) => format),
      inputs.map(({ payload }) => payload),
      inputs.map(({ blob }) => blob ?? null),
    ],
  );
  return row?.index;
}

/** Inputs of a map whose lock is held, with their messages, in one statement. Gives the messages in their order. */
export async function insertInputs(
  tx: Sql,
  map: OpenedMap,
  inputs: readonly NewInput[],
  { traceparent, acceptedAt }: { traceparent: string; acceptedAt: Date },
): Promise<OutboxRow[]> {
  const rows = inputs.map((input) => {
    const id = newId('in');
    const message = encodeInput({
      inputId: id,
      callId: map.id,
      functionId: map.function_id,
      version: map.version,
      attempt: 1,
      format: input.format,
      acceptedAt: acceptedAt.getTime(),
      traceparent,
      payload: input.payload.length > REFERENCE_BYTES ? undefined : input.payload,
      blob: input.blob,
    });
    return {
      ...input,
      id,
      subject: message.subject,
      data: message.data,
      headers: headersOf(message.headers),
    };
  });
  const written = await tx.query<{ id: string; subject: string }>(
    `WITH given AS (
       SELECT * FROM unnest($4::text[], $5::integer[], $6::text[], $7::bytea[], $8::text[], $9::text[], $13::text[])
              WITH ORDINALITY AS u (id, index, format, payload, subject, headers, blob, place)
     ), i AS (
       INSERT INTO input (id, call_id, index, in_map, function_id, version, format, payload, traceparent, accepted_at,
                          payload_blob)
       SELECT id, $1, index, true, $2, $3, format, payload, $10, $11, blob FROM given
     ), c AS (
       UPDATE call SET num_inputs = num_inputs + (SELECT count(*) FROM given) WHERE id = $1
     )
     INSERT INTO outbox (subject, payload, headers)
     SELECT subject, CASE WHEN octet_length(payload) > $12 THEN ''::bytea ELSE payload END, headers::jsonb
       FROM given ORDER BY place
     RETURNING id, subject`,
    [
      map.id,
      map.function_id,
      map.version,
      rows.map(({ id }) => id),
      rows.map(({ index }) => index),
      rows.map(({ format }) => format),
      rows.map(({ payload }) => payload),
      rows.map(({ subject }) => subject),
      rows.map(({ headers }) => JSON.stringify(headers)),
      traceparent,
      acceptedAt,
      REFERENCE_BYTES,
      rows.map(({ blob }) => blob ?? null),
    ],
  );
  const outboxIds = new Map(written.map(({ id, subject }) => [subject, id]));
  return rows.map(({ subject, data, headers }) => ({
    id: outboxIds.get(subject)!,
    subject,
    payload: data,
    headers,
  }));
}

/** It takes no more inputs. Repeatable. */
export const closeMap = (sql: Sql, callId: string) =>
  sql.query(`UPDATE call SET closed_at = now() WHERE id = $1 AND kind = 'map' AND closed_at IS NULL`, [
    callId,
  ]);

/**
 * Closes a map and says that its open inputs are to be terminated; `cancelled`: because somebody asked for it. False
 * where nothing is open any more.
 */
export async function beginEnding(
  sql: Sql,
  callId: string,
  { cancelled }: { cancelled: boolean },
): Promise<boolean> {
  const rows = await sql.query(
    `UPDATE call SET closed_at = coalesce(closed_at, now()), ending = true,
            cancelled_at = CASE WHEN $2 THEN coalesce(cancelled_at, now()) ELSE cancelled_at END
      WHERE id = $1 AND kind = 'map'
        AND (closed_at IS NULL OR num_succeeded + num_failed + num_terminated < num_inputs)
      RETURNING id`,
    [callId, cancelled],
  );
  return rows.length > 0;
}

export const markEnded = (sql: Sql, callId: string) =>
  sql.query('UPDATE call SET ending = false WHERE id = $1 AND ending', [callId]);

/** Maps whose open inputs somebody began to terminate. */
export const listEnding = (sql: Sql) =>
  sql.query<{ id: string; cancelled: boolean }>(
    'SELECT id, cancelled_at IS NOT NULL AS cancelled FROM call WHERE ending ORDER BY id LIMIT 100',
  );

export type MapHead = Omit<MapFacts, 'cancelled' | 'runs'>;

/** How far a map is, by its numbered outputs. */
export async function findMapHead(sql: Sql, callId: string): Promise<MapHead> {
  const [row] = await sql.prepared<MapHead>(
    'find-map-head',
    `SELECT num_inputs, num_succeeded, num_failed, num_terminated, ${IS_CLOSED} AS closed FROM call c WHERE id = $1`,
    [callId],
  );
  return row!;
}

/** Outputs that are numbered in one transaction: it holds the lock of the call. */
const NUMBERED_MAX = 1000;

/**
 * Gives outcomes that were recorded since the last look their places in the log of the map's outputs. Places are given
 * under the lock of the call, and visible in their order: a reader that has seen one misses none before it.
 */
export async function numberOutputs(db: Database, callId: string): Promise<void> {
  for (;;) {
    const unnumbered = await db.prepared(
      'find-unnumbered',
      `SELECT FROM input WHERE call_id = $1 AND in_map AND finished_at IS NOT NULL AND entry IS NULL LIMIT 1`,
      [callId],
    );
    if (unnumbered.length === 0) return;
    await db.transact(async (tx) => {
      const [call] = await tx.query<{ last: number }>(
        `SELECT num_succeeded + num_failed + num_terminated AS last FROM call WHERE id = $1 FOR NO KEY UPDATE`,
        [callId],
      );
      // A statement of its own: it must see what the holder of the lock before us has written.
      await tx.prepared(
        'number-outputs',
        `WITH ended AS (
           SELECT id, row_number() OVER (ORDER BY recorded_at, id) AS place FROM input
            WHERE call_id = $1 AND in_map AND finished_at IS NOT NULL AND entry IS NULL
            ORDER BY recorded_at, id LIMIT $3
         ), numbered AS (
           UPDATE input i SET entry = $2 + ended.place FROM ended WHERE i.id = ended.id
           RETURNING i.state, i.started_at, i.finished_at
         ), counted AS (
           SELECT count(*) FILTER (WHERE state = 'success') AS succeeded,
                  count(*) FILTER (WHERE state = 'failure') AS failed,
                  count(*) FILTER (WHERE state = 'terminated') AS terminated,
                  min(started_at) AS started_at, max(finished_at) AS finished_at FROM numbered
         )
         UPDATE call c SET num_succeeded = num_succeeded + succeeded, num_failed = num_failed + failed,
                num_terminated = num_terminated + terminated,
                first_started_at = least(first_started_at, started_at),
                last_finished_at = greatest(last_finished_at, finished_at)
           FROM counted WHERE c.id = $1`,
        [callId, call!.last, NUMBERED_MAX],
      );
    });
  }
}

/** An outcome as its call's readers get it. */
export type Output = Pick<
  Input,
  | 'call_id'
  | 'index'
  | 'state'
  | 'attempt'
  | 'container_id'
  | 'result'
  | 'result_format'
  | 'result_blob'
  | 'error'
  | 'started_at'
  | 'finished_at'
> & { input_id: string; entry: number };

const OUTPUT = `
  i.call_id, i.id AS input_id, i.index, coalesce(i.entry, 1) AS entry, i.state, i.attempt, i.container_id, i.result,
  i.result_format, i.result_blob, i.error, i.started_at, i.finished_at`;

/** Outputs that are read at once: so many, and results of so many bytes, but one at least. */
const PAGE_OUTPUTS_MAX = 500;
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

const page = (chosen: string) => `
  SELECT ${OUTPUT}
    FROM (SELECT id, row_number() OVER (ORDER BY place) AS number,
                 sum(octet_length(coalesce(result, ''))) OVER (ORDER BY place) AS bytes
            FROM (${chosen}) AS chosen) AS sized
    JOIN input i USING (id)
   WHERE number = 1 OR bytes <= ${PAGE_BYTES_MAX} ORDER BY number`;

/** Numbered outputs after an entry, in the order of the log. Empty: there are no more now. */
export const listRecorded = (sql: Sql, callId: string, after: number) =>
  sql.prepared<Output>(
    'list-recorded',
    page(`SELECT id, result, entry AS place FROM input WHERE call_id = $1 AND entry > $2
           ORDER BY entry LIMIT ${PAGE_OUTPUTS_MAX}`),
    [callId, after],
  );

/**
 * Numbered outputs after an index, by index, up to the first input that has none; `gaps`: all there are. `before`:
 * only those whose entry comes before that.
 */
export const listByIndex = (
  sql: Sql,
  callId: string,
  after: number,
  { gaps, before }: { gaps: boolean; before: number | undefined },
) =>
  sql.prepared<Output>(
    'list-by-index',
    page(`SELECT id, result, index AS place FROM (
            SELECT id, result, index, index - $2 - row_number() OVER (ORDER BY index) AS missing,
                   bool_and(entry IS NOT NULL AND entry < $4) OVER (ORDER BY index) AS ended
              FROM (SELECT id, result, index, entry FROM input WHERE call_id = $1 AND index > $2
                     ORDER BY index LIMIT ${PAGE_OUTPUTS_MAX}) AS next) AS run
           WHERE ended AND (missing = 0 OR $3)`),
    [callId, after, gaps, before ?? 2 ** 31 - 1],
  );

/** The first output of the log that is no success. */
export async function findFirstFailure(sql: Sql, callId: string): Promise<Output | undefined> {
  const [row] = await sql.query<Output>(
    `SELECT ${OUTPUT} FROM input i WHERE call_id = $1 AND entry IS NOT NULL AND state <> 'success'
      ORDER BY entry LIMIT 1`,
    [callId],
  );
  return row;
}

/** The output of one input of a call, when it has one. */
export async function findOutput(sql: Sql, callId: string, index = 0): Promise<Output | undefined> {
  const [row] = await sql.query<Output>(
    `SELECT ${OUTPUT} FROM input i WHERE call_id = $1 AND index = $2 AND finished_at IS NOT NULL`,
    [callId, index],
  );
  return row;
}
