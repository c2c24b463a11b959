/** Inputs that failed and wait to be tried again. Their attempt has been counted already; their message has not been made. */
import type { Sql } from '@berth/database';
import type { OutboxRow } from '@berth/events';
import type { InputError } from '../domain/outcome';
import { enqueueAttempt } from './call-store';
import type { Input } from './entities';

export interface DueRetry {
  functionId: string;
  version: number;
  outbox: OutboxRow;
}

/** Makes the messages of retries that are due, each once, whoever else does so at the same time. */
export async function publishDueRetries(tx: Sql, limit: number): Promise<DueRetry[]> {
  const inputs = await tx.query<Input>(
    `UPDATE input SET due_at = NULL
      WHERE id IN (SELECT id FROM input WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT $1
                      FOR UPDATE SKIP LOCKED)
      RETURNING *`,
    [limit],
  );
  const due: DueRetry[] = [];
  for (const input of inputs) {
    const outbox = await enqueueAttempt(tx, input);
    due.push({ functionId: input.function_id, version: input.version, outbox });
  }
  return due;
}

/** Milliseconds until the next retry is due, by the clock of Postgres; undefined when none waits. */
export async function untilNextRetry(sql: Sql): Promise<number | undefined> {
  const [row] = await sql.query<{ ms: number | null }>(
    'SELECT (extract(epoch FROM min(due_at) - clock_timestamp()) * 1000)::float8 AS ms FROM input WHERE due_at IS NOT NULL',
  );
  return row?.ms ?? undefined;
}

export interface WaitingRetry {
  due_at: Date;
  failures: number;
  retries: number;
  last_error: InputError;
}

/** What an input waits for that is to be tried again; undefined for one that is not. */
export async function findWaitingRetry(sql: Sql, inputId: string): Promise<WaitingRetry | undefined> {
  const [row] = await sql.query<WaitingRetry>(
    `SELECT i.due_at, i.failures, i.last_error, (v.definition->>'retries')::integer AS retries
       FROM input i JOIN function_version v USING (function_id, version)
      WHERE i.id = $1 AND i.due_at IS NOT NULL`,
    [inputId],
  );
  return row;
}
