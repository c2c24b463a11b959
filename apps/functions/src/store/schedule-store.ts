import type { Sql } from '@berth/database';
import type { Schedule } from '../domain/definition';
import { nextMoment } from '../domain/schedule';

/**
 * Makes a function's row of the schedule what its current version, its app and itself say: to be called whenever any of
 * these has changed, in the same transaction. A schedule that stays the same keeps its next moment.
 */
export async function settleSchedule(tx: Sql, functionId: string): Promise<void> {
  const [current] = await tx.query<{ schedule: Schedule | null; unchanged: boolean }>(
    `SELECT v.definition->'schedule' AS schedule, coalesce(s.schedule = v.definition->'schedule', false) AS unchanged
       FROM function f JOIN app a ON a.id = f.app_id
       JOIN function_version v ON v.function_id = f.id AND v.version = f.version
       LEFT JOIN schedule s ON s.function_id = f.id
      WHERE f.id = $1 AND f.deleted_at IS NULL AND a.state = 'deployed'`,
    [functionId],
  );
  if (current?.unchanged) return;
  const next = current?.schedule ? nextMoment(current.schedule, Date.now()) : undefined;
  if (!current?.schedule || next === undefined) {
    await tx.query('DELETE FROM schedule WHERE function_id = $1', [functionId]);
    return;
  }
  await tx.query(
    `INSERT INTO schedule (function_id, schedule, next_at) VALUES ($1, $2, $3)
     ON CONFLICT (function_id) DO UPDATE SET schedule = excluded.schedule, next_at = excluded.next_at`,
    [functionId, JSON.stringify(current.schedule), new Date(next)],
  );
}

export interface DueSchedule {
  function_id: string;
  workspace_id: string;
  schedule: Schedule;
  next_at: Date;
}

/** Schedules with a moment that has come, each for one process at a time. */
export const lockDueSchedules = (tx: Sql, now: Date, limit: number) =>
  tx.query<DueSchedule>(
    `SELECT s.function_id, f.workspace_id, s.schedule, s.next_at
       FROM schedule s JOIN function f ON f.id = s.function_id
      WHERE s.next_at <= $1 ORDER BY s.next_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED`,
    [now, limit],
  );

/** Its next moment; undefined: it comes no more. */
export const moveSchedule = (tx: Sql, functionId: string, next: Date | undefined) =>
  next
    ? tx.query('UPDATE schedule SET next_at = $2 WHERE function_id = $1', [functionId, next])
    : tx.query('DELETE FROM schedule WHERE function_id = $1', [functionId]);

/** When the next moment of any schedule comes. */
export async function nextScheduled(sql: Sql): Promise<Date | undefined> {
  const [row] = await sql.query<{ next_at: Date | null }>('SELECT min(next_at) AS next_at FROM schedule');
  return row?.next_at ?? undefined;
}
