/**
 * The outbox: events are rows written in the transaction that made them true, and published afterwards.
 *
 * A row leaves the table only when JetStream has acknowledged it. A relay that dies in between publishes it again,
 * under the same message id: JetStream drops the repeat inside its duplicate window, consumers tolerate the rest.
 */
import { headers as natsHeaders } from '@nats-io/transport-node';
import type { Database, Sql } from '@berth/database';
import { injectTrace, type Logger } from '@berth/service-kit';
import type { Bus } from './nats';

/** The table; a migration of each service that publishes creates it. */
export const OUTBOX_TABLE = `
  CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
  )`;

/** Writes an event into the outbox of the current transaction. Call `relay.wake()` after the commit. */
export async function enqueue(tx: Sql, subject: string, payload: Uint8Array | object): Promise<void> {
  const bytes = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
  await tx.query('INSERT INTO outbox (subject, payload, headers) VALUES ($1, $2, $3)', [
    subject,
    bytes,
    JSON.stringify(injectTrace()),
  ]);
}

export interface OutboxRow {
  id: string;
  subject: string;
  payload: Uint8Array;
  headers: Record<string, string>;
}

export interface Relay {
  /** Something was committed: publish soon. */
  wake(): void;
  /** Publishes rows that the caller has just committed, without reading them back; they are deleted a little later. */
  publish(rows: OutboxRow[]): Promise<void>;
  start(): void;
  /** Resolves when the last batch has ended and what was published is deleted. */
  stop(): Promise<void>;
}

const BATCH = 200;
/** Published rows are deleted together: one statement for all of this time instead of one each. Milliseconds. */
const DELETE_MS = 50;
/** The fall-back scan, for a wake-up that was lost with its process. Milliseconds. */
const SCAN_MS = 2000;

/** Publishes the outbox of `schema`. Several relays may run on one table. */
export function createRelay(db: Database, bus: Bus, schema: string, log: Logger): Relay {
  let running: Promise<void> | undefined;
  let again = false;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const send = async ({ id, subject, payload, headers }: OutboxRow) => {
    const head = natsHeaders();
    for (const [key, value] of Object.entries(headers)) head.set(key, value);
    await bus.jetstream.publish(subject, payload, { msgID: `${schema}-${id}`, headers: head, timeout: 5000 });
    return id;
  };

  const sendAll = async (rows: OutboxRow[]) => {
    const results = await Promise.allSettled(rows.map(send));
    const failed = results.find((result) => result.status === 'rejected');
    const sent = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    return { sent, failed };
  };

  const drain = async () => {
    for (;;) {
      again = false;
      const count = await db.transact(async (tx) => {
        const rows = await tx.query<OutboxRow>(
          'SELECT id, subject, payload, headers FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED',
          [BATCH],
        );
        if (rows.length === 0) return 0;
        const { sent, failed } = await sendAll(rows);
        await tx.query('DELETE FROM outbox WHERE id = ANY($1)', [sent]);
        if (failed && sent.length === 0) throw failed.reason;
        return rows.length;
      });
      if (count < BATCH && !again) return;
    }
  };

  let published: string[] = [];
  let deleting: NodeJS.Timeout | undefined;
  const deletePublished = async () => {
    clearTimeout(deleting);
    deleting = undefined;
    const ids = published;
    published = [];
    if (ids.length === 0) return;
    // Those that stay are published once more by a scan, under the same message ids.
    await db
      .prepared('outbox-delete', 'DELETE FROM outbox WHERE id = ANY($1)', [ids])
      .catch((error: unknown) => log.warn({ err: error }, 'published events stay in the outbox for now'));
  };

  const wake = () => {
    if (stopped) return;
    again = true;
    running ??= drain()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'the outbox waits: publishing failed, trying again soon'),
      )
      .finally(() => (running = undefined));
  };

  return {
    wake,
    async publish(rows) {
      const { sent, failed } = await sendAll(rows);
      published.push(...sent);
      if (published.length > 0) deleting ??= setTimeout(() => void deletePublished(), DELETE_MS);
      if (failed) throw failed.reason;
    },
    start() {
      timer ??= setInterval(wake, SCAN_MS);
      timer.unref();
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await running;
      await deletePublished();
    },
  };
}
