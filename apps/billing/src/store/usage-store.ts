import type { Sql } from '@berth/database';
import type { Interval } from '../domain/interval';
import type { UsageInterval } from './entities';

const COLUMNS = `container_id, sequence, organization_id, workspace_id, app_id, function_id, node_id, started_at,
  ended_at, millicores, memory, gpu, last`;

export type StoredInterval = Omit<UsageInterval, 'received_at'>;

/** Stores an interval; false when there is one of this container and sequence, which stays as it is. */
export async function insertInterval(sql: Sql, interval: Interval): Promise<boolean> {
  const rows = await sql.prepared(
    'insert-interval',
    `INSERT INTO usage_interval (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
     ON CONFLICT ON CONSTRAINT usage_interval_pkey DO NOTHING RETURNING sequence`,
    [
      interval.container_id,
      interval.sequence,
      interval.organization_id,
      interval.workspace_id,
      interval.app_id,
      interval.function_id,
      interval.node_id,
      interval.started_at,
      interval.ended_at,
      interval.millicores,
      interval.memory,
      interval.gpu,
      interval.last,
    ],
  );
  return rows.length > 0;
}

export async function findInterval(
  sql: Sql,
  containerId: string,
  sequence: number,
): Promise<StoredInterval | undefined> {
  const [row] = await sql.query<StoredInterval>(
    `SELECT ${COLUMNS} FROM usage_interval WHERE container_id = $1 AND sequence = $2`,
    [containerId, sequence],
  );
  return row;
}

export interface UsageFilter {
  workspaceId: string;
  start: Date;
  end: Date;
  containerId: string | undefined;
  functionId: string | undefined;
}

/** Where a page begins: after this row of the order. */
export interface UsageKey {
  startedAt: Date;
  containerId: string;
  sequence: number;
}

/** One page and one row more of what begins in [start, end), oldest first. */
export const listIntervals = (sql: Sql, filter: UsageFilter, limit: number, after: UsageKey | undefined) =>
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
      after?.startedAt ?? null,
      after?.containerId ?? null,
      after?.sequence ?? null,
      limit + 1,
    ],
  );
