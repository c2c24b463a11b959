import type { Sql } from '@berth/database';
import type { Pool } from './entities';

export interface PoolKey {
  functionId: string;
  version: number;
}

export type LockedPool = Pick<
  Pool,
  | 'wish'
  | 'revision'
  | 'heard_revision'
  | 'needed_at'
  | 'failures'
  | 'failed_at'
  | 'failed_by_user'
  | 'retired_at'
> & { open: number };

/** The pool with its open inputs (less those that wait to be tried again), counted up to `openMax`, locked: replicas decide one after the other. */
export async function lockPool(
  tx: Sql,
  { functionId, version }: PoolKey,
  openMax: number,
): Promise<LockedPool | undefined> {
  const [pool] = await tx.prepared<Omit<LockedPool, 'open'>>(
    'lock-pool',
    `SELECT wish, revision, heard_revision, needed_at, failures, failed_at, failed_by_user, retired_at FROM pool
      WHERE function_id = $1 AND version = $2 FOR UPDATE`,
    [functionId, version],
  );
  if (!pool) return undefined;
  const [count] = await tx.prepared<{ open: number }>(
    'count-open',
    `SELECT count(*)::integer AS open FROM (
       SELECT FROM input WHERE function_id = $1 AND version = $2 AND finished_at IS NULL AND due_at IS NULL LIMIT $3) AS counted`,
    [functionId, version, openMax],
  );
  return { ...pool, open: count!.open };
}

/** Writes a decision, under a new revision where the scheduler has to hear of it; gives the revision then in force. */
export async function writeWish(
  tx: Sql,
  { functionId, version }: PoolKey,
  { wish, neededAt, tell }: { wish: number; neededAt: Date; tell: boolean },
): Promise<bigint> {
  const [row] = await tx.query<{ revision: string }>(
    `UPDATE pool SET wish = $3, needed_at = $4, revision = revision + $5,
            retired_at = CASE WHEN $3 > 0 THEN NULL ELSE retired_at END
      WHERE function_id = $1 AND version = $2 RETURNING revision`,
    [functionId, version, wish, neededAt, tell ? 1 : 0],
  );
  return BigInt(row!.revision);
}

/** The scheduler has answered this revision. */
export const markHeard = (sql: Sql, { functionId, version }: PoolKey, revision: bigint) =>
  sql.query(
    `UPDATE pool SET heard_revision = $3 WHERE function_id = $1 AND version = $2 AND heard_revision < $3`,
    [functionId, version, String(revision)],
  );

/** Counts a container that failed before it was ready; gives how many did in a row. */
export async function countFailure(
  sql: Sql,
  { functionId, version }: PoolKey,
  byUser: boolean,
): Promise<number> {
  const [row] = await sql.query<{ failures: number }>(
    `UPDATE pool SET failures = failures + 1, failed_at = now(), failed_by_user = $3
      WHERE function_id = $1 AND version = $2 RETURNING failures`,
    [functionId, version, byUser],
  );
  return row?.failures ?? 0;
}

/** A container became ready. */
export const clearFailures = (sql: Sql, { functionId, version }: PoolKey) =>
  sql.query('UPDATE pool SET failures = 0 WHERE function_id = $1 AND version = $2 AND failures > 0', [
    functionId,
    version,
  ]);

/**
 * Pools where something is or should be: with open inputs, with containers, below the minimum that their functions keep, or
 * with a wish that was not heard. Leaps from pool to pool in the index of open inputs: a backlog of a hundred thousand costs what one input costs.
 */
export const listActivePools = (sql: Sql) =>
  sql.query<{ function_id: string; version: number }>(
    `WITH RECURSIVE open AS (
       (SELECT function_id, version FROM input WHERE finished_at IS NULL ORDER BY function_id, version LIMIT 1)
       UNION ALL
       SELECT next.function_id, next.version FROM open, LATERAL (
         SELECT function_id, version FROM input
          WHERE finished_at IS NULL AND (function_id, version) > (open.function_id, open.version)
          ORDER BY function_id, version LIMIT 1) AS next
     )
     SELECT function_id, version FROM open
     UNION SELECT function_id, version FROM pool WHERE retired_at IS NULL AND wish > 0
     UNION SELECT function_id, version FROM pool WHERE heard_revision < revision
     UNION SELECT v.function_id, v.version
       FROM function_version v JOIN pool p USING (function_id, version)
       JOIN function f ON f.id = v.function_id AND f.version = v.version JOIN app a ON a.id = f.app_id
      WHERE (v.definition->>'min_containers')::integer > 0 AND p.wish < (v.definition->>'min_containers')::integer
        AND f.deleted_at IS NULL AND a.stopped_at IS NULL`,
  );

/** Containers of a pool that run inputs now. */
export async function listBusy(sql: Sql, { functionId, version }: PoolKey): Promise<string[]> {
  const rows = await sql.query<{ container_id: string }>(
    `SELECT DISTINCT container_id FROM input
      WHERE function_id = $1 AND version = $2 AND finished_at IS NULL AND container_id IS NOT NULL`,
    [functionId, version],
  );
  return rows.map(({ container_id }) => container_id);
}

/** Pools that will run nothing any more and whose queue is still there. */
export const listRetiring = (sql: Sql) =>
  sql.query<{ function_id: string; version: number }>(
    `SELECT p.function_id, p.version
       FROM pool p JOIN function f ON f.id = p.function_id JOIN app a ON a.id = f.app_id
      WHERE p.retired_at IS NULL AND p.wish = 0 AND p.heard_revision = p.revision
        AND (a.stopped_at IS NOT NULL OR f.deleted_at IS NOT NULL OR f.version <> p.version)
        AND NOT EXISTS (SELECT 1 FROM input i WHERE i.function_id = p.function_id AND i.version = p.version
                                                AND i.finished_at IS NULL)`,
  );

/**
 * Marks it retired; its version does not become current again before the transaction ends. False: it was made current
 * meanwhile, or is to have containers.
 */
export async function markRetired(tx: Sql, { functionId, version }: PoolKey): Promise<boolean> {
  const [held] = await tx.query<{ taken: boolean }>(
    `SELECT f.version = $2 AND f.deleted_at IS NULL AND a.stopped_at IS NULL AS taken
       FROM function f JOIN app a ON a.id = f.app_id WHERE f.id = $1 FOR SHARE OF f`,
    [functionId, version],
  );
  if (held?.taken) return false;
  const rows = await tx.query(
    `UPDATE pool SET retired_at = now() WHERE function_id = $1 AND version = $2 AND wish = 0 RETURNING version`,
    [functionId, version],
  );
  return rows.length > 0;
}

/** Pools with containers, and what they are for. */
export const listHolding = (sql: Sql) =>
  sql.query<
    Pick<Pool, 'function_id' | 'version' | 'wish' | 'needed_at'> & {
      min_containers: number;
      max_containers: number;
      max_concurrent_inputs: number;
      buffer_containers: number;
      batching: { max_batch_size: number } | null;
      current: boolean;
      holds_cards: boolean;
      open: number;
    }
  >(
    `SELECT p.function_id, p.version, p.wish, p.needed_at, (v.definition->>'min_containers')::integer AS min_containers,
            (v.definition->>'max_containers')::integer AS max_containers,
            (v.definition->>'max_concurrent_inputs')::integer AS max_concurrent_inputs, v.definition->'batching' AS batching,
            (v.definition->>'buffer_containers')::integer AS buffer_containers,
            f.version = v.version AND a.stopped_at IS NULL AND f.deleted_at IS NULL AS current, jsonb_array_length(v.definition->'gpu') > 0 AS holds_cards,
            (SELECT count(*)::integer FROM input i WHERE i.function_id = p.function_id AND i.version = p.version
                                                     AND i.finished_at IS NULL AND i.due_at IS NULL) AS open
       FROM pool p JOIN function_version v USING (function_id, version) JOIN function f ON f.id = p.function_id
       JOIN app a ON a.id = f.app_id
      WHERE p.retired_at IS NULL AND p.wish > 0`,
  );
