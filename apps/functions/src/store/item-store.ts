/** What generators yield. An item is written once: whoever says it again, or yields it again, changes nothing. */
import { isId, type Sql } from '@berth/database';
import { HELD, type Attempt } from './input-store';

/** Writes items from `index` on, while this attempt holds its input; gives its call, or undefined where it does not. */
export async function recordItems(
  sql: Sql,
  on: Attempt,
  index: number,
  payloads: readonly Buffer[],
): Promise<string | undefined> {
  const [row] = await sql.query<{ call_id: string }>(
    `WITH held AS (
       SELECT id, call_id FROM input i WHERE id = $1 AND attempt = $2 AND ${HELD} FOR SHARE
     ), written AS (
       INSERT INTO item (input_id, index, payload)
       SELECT held.id, $4 + ordinality - 1, payload FROM held, unnest($5::bytea[]) WITH ORDINALITY AS p (payload, ordinality)
       ON CONFLICT DO NOTHING
     )
     SELECT call_id FROM held`,
    [on.inputId, on.attempt, on.containerId, index, payloads],
  );
  return row?.call_id;
}

/** How many of its first `claimed` items an input has, and how long the list of these is. */
export async function measureItems(
  sql: Sql,
  inputId: string,
  claimed: number,
): Promise<{ count: number; bytes: number }> {
  const [row] = await sql.query<{ count: number; bytes: string }>(
    `SELECT count(*)::integer AS count, coalesce(sum(octet_length(payload) + 1), 0) + 1 AS bytes
       FROM item WHERE input_id = $1 AND index < $2`,
    [inputId, claimed],
  );
  return { count: row!.count, bytes: Number(row!.bytes) };
}

/** Leaves the first `count` items of an input: the rest is of attempts that failed. */
export const deleteItemsFrom = (sql: Sql, inputId: string, count: number) =>
  sql.query('DELETE FROM item WHERE input_id = $1 AND index >= $2', [inputId, count]);

export interface ItemRow {
  index: number;
  payload: Buffer;
}

/** What is read for one page of items. Bytes, and items. */
const PAGE_BYTES_MAX = 4 * 1024 * 1024;
const PAGE_ITEMS_MAX = 500;

/** The next items after an index, in order: at least one where there is one, and no more than a page holds. */
export const listItems = (sql: Sql, inputId: string, after: number) =>
  sql.query<ItemRow>(
    `WITH next AS (
       SELECT index, sum(octet_length(payload)) OVER (ORDER BY index) AS bytes FROM (
         SELECT index, payload FROM item WHERE input_id = $1 AND index > $2 ORDER BY index LIMIT $3) AS page
     )
     SELECT item.index, item.payload FROM next JOIN item ON item.input_id = $1 AND item.index = next.index
      WHERE next.bytes <= $4 OR next.index = (SELECT min(index) FROM next)
      ORDER BY item.index`,
    [inputId, after, PAGE_ITEMS_MAX, PAGE_BYTES_MAX],
  );

/** Whose items are asked for: an input of a call of this workspace, and whether it has ended. */
export async function findYielding(
  sql: Sql,
  workspaceId: string,
  callId: string,
  inputIndex: number,
): Promise<{ input_id: string; ended: boolean } | undefined> {
  if (!isId('fc', callId)) return undefined;
  const [row] = await sql.query<{ input_id: string; ended: boolean }>(
    `SELECT i.id AS input_id, i.finished_at IS NOT NULL AS ended FROM call c JOIN input i ON i.call_id = c.id
      WHERE c.id = $1 AND c.workspace_id = $2 AND i.index = $3`,
    [callId, workspaceId, inputIndex],
  );
  return row;
}
