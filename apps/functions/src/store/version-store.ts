import type { Page, Sql } from '@berth/database';
import type { FunctionVersion } from './entities';
import { followBase, lockFunction } from './function-store';

/** One page and one row more, newest first: the row more is also what the last one is compared with. */
export const listVersionRows = (sql: Sql, functionId: string, before: number | undefined, { limit }: Page) =>
  sql.query<FunctionVersion>(
    `SELECT function_id, version, definition, source, created_at FROM function_version
      WHERE function_id = $1 AND ($2::integer IS NULL OR version < $2)
      ORDER BY version DESC LIMIT $3`,
    [functionId, before ?? null, limit + 1],
  );

export async function hasVersion(sql: Sql, functionId: string, version: number): Promise<boolean> {
  const rows = await sql.query('SELECT FROM function_version WHERE function_id = $1 AND version = $2', [
    functionId,
    version,
  ]);
  return rows.length > 0;
}

/**
 * Makes a version the one that new calls run. Its pool may be of use again; what retires a pool waits for this, and then
 * sees that it is current.
 */
export async function makeCurrent(tx: Sql, functionId: string, version: number): Promise<void> {
  await tx.query('UPDATE function SET version = $2 WHERE id = $1', [functionId, version]);
  await tx.query('UPDATE pool SET retired_at = NULL WHERE function_id = $1 AND version = $2', [
    functionId,
    version,
  ]);
  await followBase(tx, functionId);
}

/** Marks it deleted, with what is bound to it. False: it was before. */
export async function markDeleted(tx: Sql, functionId: string): Promise<boolean> {
  // What is being bound to it is there when the lock is had: the next statement sees it.
  await lockFunction(tx, functionId);
  const rows = await tx.query(
    'UPDATE function SET deleted_at = now() WHERE (id = $1 OR base_id = $1) AND deleted_at IS NULL RETURNING id',
    [functionId],
  );
  return rows.length > 0;
}

/** Takes a deletion back. False: another live function of the app has the name. */
export async function restore(tx: Sql, functionId: string): Promise<boolean> {
  const rows = await tx.query(
    `UPDATE function f SET deleted_at = NULL
      WHERE id = $1 AND (deleted_at IS NULL OR NOT EXISTS (
        SELECT FROM function o WHERE o.app_id = f.app_id AND o.name = f.name AND o.deleted_at IS NULL))
      RETURNING id`,
    [functionId],
  );
  if (rows.length > 0)
    await tx.query('UPDATE function SET deleted_at = NULL WHERE base_id = $1', [functionId]);
  return rows.length > 0;
}
