import { createHash } from 'node:crypto';
import { BerthError } from '@berth/service-kit';
import type { Sql } from './database';

/** The table behind `idempotent`; a migration of each service that uses it creates it. */
export const IDEMPOTENCY_TABLE = `
  CREATE TABLE idempotency (
    scope text NOT NULL,
    method text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    response bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, method, key)
  )`;

export interface RepeatKey {
  /** Whose key it is: a workspace's or organization's id. */
  scope: string;
  method: string;
  /** Undefined: not repeatable, `work` just runs. */
  key: string | undefined;
  /** The request in its wire form: a repeat must be the same request. */
  request: Uint8Array;
}

interface Codec<T> {
  encode(value: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/**
 * Runs `work` once for each key: a repeat gets the first one's response. The key is written in the caller's
 * transaction, so it exists exactly if the effect does; a concurrent repeat waits for the first to end.
 * Errors: `precondition` when the key was used for another request.
 */
export async function idempotent<T>(
  tx: Sql,
  repeat: RepeatKey,
  codec: Codec<T>,
  work: () => Promise<T>,
): Promise<T> {
  const { scope, method, key } = repeat;
  if (key === undefined) return work();

  const requestHash = createHash('sha256').update(repeat.request).digest();
  const [mine] = await tx.query(
    `INSERT INTO idempotency (scope, method, key, request_hash) VALUES ($1, $2, $3, $4)
     ON CONFLICT DO NOTHING RETURNING key`,
    [scope, method, key, requestHash],
  );
  if (!mine) {
    const [earlier] = await tx.query<{ request_hash: Buffer; response: Buffer }>(
      'SELECT request_hash, response FROM idempotency WHERE scope = $1 AND method = $2 AND key = $3',
      [scope, method, key],
    );
    if (!earlier?.request_hash.equals(requestHash)) {
      throw new BerthError(
        'precondition',
        'This Idempotency-Key was used for another request: take a new one.',
        {
          field: 'Idempotency-Key',
        },
      );
    }
    return codec.decode(earlier.response);
  }

  const response = await work();
  await tx.query('UPDATE idempotency SET response = $4 WHERE scope = $1 AND method = $2 AND key = $3', [
    scope,
    method,
    key,
    Buffer.from(codec.encode(response).finish()),
  ]);
  return response;
}
