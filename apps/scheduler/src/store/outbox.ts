import type { Sql } from '@berth/database';
import type { OutboxRow } from '@berth/events';
import { injectTrace } from '@berth/service-kit';

export interface Message {
  subject: string;
  payload: Uint8Array;
}

/** Writes all messages of a transaction at once, and gives the rows, to publish them after the commit. */
export async function writeOutbox(tx: Sql, messages: readonly Message[]): Promise<OutboxRow[]> {
  if (messages.length === 0) return [];
  return tx.prepared<OutboxRow>(
    'write-outbox',
    `INSERT INTO outbox (subject, payload, headers)
     SELECT subject, payload, $3 FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS m (subject, payload, at)
      ORDER BY at
     RETURNING id, subject, payload, headers`,
    [
      messages.map(({ subject }) => subject),
      messages.map(({ payload }) => Buffer.from(payload)),
      JSON.stringify(injectTrace()),
    ],
  );
}
