import type { Sql } from '@berth/database';
import { isSame, keyOf, type Interval } from '../domain/interval';
import type { Position } from '../domain/position';
import type { Window } from '../domain/window';
import type { UsageInterval } from './entities';

const COLUMNS = `container_id, sequence, organization_id, workspace_id, app_id, function_id, node_id, started_at,
  ended_at, millicores, memory, gpu, last`;

export type StoredInterval = Omit<UsageInterval, 'received_at'>;

/** What became of a report. On a repeat the row stays as it is, be it the same or not. */
export type Outcome = { is: 'stored' | 'repeated' } | { is: 'conflicting'; earlier: StoredInterval };

/**
 * Stores the intervals that are new, in one statement: when this returns, all of them are committed. The outcomes are
 * in the order of the intervals.
 */
export async function storeIntervals(sql: Sql, intervals: Interval[]): Promise<Outcome[]> {
  const firsts = new Map<string, Interval>();
  for (const interval of intervals) {
    if (!firsts.has(keyOf(interval))) firsts.set(keyOf(interval), interval);
  }
  const inserted = await insertMissing(sql, [...firsts.values()]);
  const isNew = (interval: Interval) =>
    inserted.has(keyOf(interval)) && firsts.get(keyOf(interval)) === interval;

  const repeats = intervals.filter((interval) => !isNew(interval));
  // A statement of its own: the insert waited for whoever was first, but does not see what they committed.
  const earlier = repeats.length > 0 ? await findIntervals(sql, repeats) : undefined;
  return intervals.map((interval) => {
    if (isNew(interval)) return { is: 'stored' };
    const row = earlier!.get(keyOf(interval))!;
    return isSame(row, interval) ? { is: 'repeated' } : { is: 'conflicting', earlier: row };
  });
}

/** The keys of those that were not there. Sorted, so that replicas with the same intervals do not deadlock. */
async function insertMissing(sql: Sql, intervals: Interval[]): Promise<Set<string>> {
  const rows = await sql.prepared<StoredInterval>(
    'insert-intervals',
    `INSERT INTO usage_interval (${COLUMNS})
     SELECT ${COLUMNS} FROM jsonb_to_recordset($1::jsonb) AS given (
       container_id text, sequence integer, organization_id text, workspace_id text, app_id text,
       function_id text, node_id text, started_at timestamptz, ended_at timestamptz,
       millicores integer, memory integer, gpu text[], last boolean)
     ORDER BY container_id, sequence
     ON CONFLICT ON CONSTRAINT usage_interval_pkey DO NOTHING RETURNING container_id, sequence`,
    [JSON.stringify(intervals)],
  );
  return new Set(rows.map(keyOf));
}

async function findIntervals(sql: Sql, wanted: Interval[]): Promise<Map<string, StoredInterval>> {
  const rows = await sql.query<StoredInterval>(
    `SELECT ${COLUMNS} FROM usage_interval
      WHERE (container_id, sequence) IN (SELECT * FROM unnest($1::text[], $2::integer[]))`,
    [wanted.map(({ container_id }) => container_id), wanted.map(({ sequence }) => sequence)],
  );
  return new Map(rows.map((row) => [keyOf(row), row]));
}

export interface UsageFilter extends Window {
  workspaceId: string;
  containerId: string | undefined;
  functionId: string | undefined;
}

/** One page and one row more of what begins in [start, end), oldest first. */
export const listIntervals = (sql: Sql, filter: UsageFilter, limit: number, after: Position | undefined) =>
  sql.query<StoredInterval>(
    `SELECT ${COLUMNS} FROM usage_interval
      WHERE workspace_id = $1 AND started_at >= $2 AND started_at < $3
        AND ($4::text IS NULL OR container_id = $4) AND ($5::text IS NULL OR function_id = $5)
        AND ($6::timestamptz IS NULL OR (started_at, container_id, sequence) > ($6, $7, $8))
      ORDER BY started_at, container_id, sequence LIMIT $9`,
    [
      filter.workspaceId,
      filter.start,
      filter.end,
      filter.containerId ?? null,
      filter.functionId ?? null,
      after?.started_at ?? null,
      after?.container_id ?? null,
      after?.sequence ?? null,
      limit + 1,
    ],
  );
