import type { Sql } from '@berth/database';
import { IS_CLOSED } from './call-store';
import type { WebhookRow } from './entities';

export const insertWebhook = (
  tx: Sql,
  row: Pick<WebhookRow, 'call_id' | 'workspace_id' | 'host' | 'sealed'>,
) =>
  tx.query('INSERT INTO webhook (call_id, workspace_id, host, sealed) VALUES ($1, $2, $3, $4)', [
    row.call_id,
    row.workspace_id,
    row.host,
    row.sealed,
  ]);

/** How the webhook of a call fares; undefined where it has none. */
export async function findWebhook(
  sql: Sql,
  callId: string,
): Promise<Pick<WebhookRow, 'host' | 'state' | 'attempts' | 'next_at' | 'last_error'> | undefined> {
  const [row] = await sql.query<WebhookRow>(
    'SELECT host, state, attempts, next_at, last_error FROM webhook WHERE call_id = $1',
    [callId],
  );
  return row;
}

/** Makes webhooks due whose call has ended: of these calls, or of all. */
export const startDeliveries = (sql: Sql, callIds: string[] | undefined) =>
  sql.query(
    `UPDATE webhook w SET state = 'pending', ended_at = now(), next_at = now()
      WHERE w.state = 'waiting' AND ($1::text[] IS NULL OR w.call_id = ANY($1))
        AND NOT EXISTS (SELECT FROM input i WHERE i.call_id = w.call_id AND i.finished_at IS NULL)
        AND EXISTS (SELECT FROM call c WHERE c.id = w.call_id AND (c.kind = 'single' OR ${IS_CLOSED}))`,
    [callIds ?? null],
  );

/** An attempt that somebody has taken on, until `next_at`: then it is anybody's again. */
export type ClaimedWebhook = Pick<WebhookRow, 'call_id' | 'workspace_id' | 'sealed' | 'attempts'> & {
  ended_at: Date;
};

/** Takes on up to `limit` attempts that are due, none of these workspaces. */
export const claimWebhooks = (sql: Sql, busy: string[], limit: number, claimMs: number) =>
  sql.query<ClaimedWebhook>(
    `UPDATE webhook SET attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => $3)
      WHERE call_id IN (SELECT call_id FROM webhook WHERE next_at <= clock_timestamp() AND NOT workspace_id = ANY($1)
                         ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED)
      RETURNING call_id, workspace_id, sealed, attempts, ended_at`,
    [busy, limit, claimMs / 1000],
  );

/** What became of an attempt, unless another has been taken on since. `retryMs`: it is tried again then. */
export const recordAttempt = (
  sql: Sql,
  { call_id, attempts }: Pick<WebhookRow, 'call_id' | 'attempts'>,
  outcome: { state: 'delivered' } | { state: 'failed' | 'pending'; error: string; retryMs?: number },
) =>
  sql.query(
    `UPDATE webhook SET state = $3, last_error = $4,
            next_at = CASE WHEN $3 = 'pending' THEN clock_timestamp() + make_interval(secs => $5) END
      WHERE call_id = $1 AND attempts = $2 AND state = 'pending'`,
    [
      call_id,
      attempts,
      outcome.state,
      outcome.state === 'delivered' ? null : outcome.error,
      outcome.state === 'delivered' ? null : (outcome.retryMs ?? 0) / 1000,
    ],
  );

/** Milliseconds until the next attempt is due, by the clock of Postgres. */
export async function untilNextWebhook(sql: Sql, busy: string[]): Promise<number | undefined> {
  const [row] = await sql.query<{ ms: number | null }>(
    `SELECT (extract(epoch FROM min(next_at) - clock_timestamp()) * 1000)::float8 AS ms FROM webhook
      WHERE next_at IS NOT NULL AND NOT workspace_id = ANY($1)`,
    [busy],
  );
  return row?.ms ?? undefined;
}
