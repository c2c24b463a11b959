/** Telling somebody that a call has ended, as Standard Webhooks lays it down (standardwebhooks.com, version 1.0). */
import { createHmac } from 'node:crypto';
import { BerthError } from '@berth/service-kit';
import type { MapFacts } from './map';

/**
 * - `waiting`: its call has not ended.
 * - `pending`: it is told, and told again until it answers.
 * - `delivered`, `failed`: it answered; or not within a day, or that it is gone.
 */
export type WebhookState = 'waiting' | 'pending' | 'delivered' | 'failed';

export interface Webhook {
  url: string;
  /** Empty: not signed. */
  secret: string;
}

const refuse = (field: string, why: string) =>
  new BerthError('invalid', `webhook.${field} ${why}.`, { field: `webhook.${field}` });

const URL_LENGTH_MAX = 2048;
const SECRET_PREFIX = 'whsec_';

/** Errors: `invalid`, without a word of the secret. */
export function checkWebhook({ url, secret }: Webhook): { host: string } {
  if (!URL.canParse(url) || url.length > URL_LENGTH_MAX) {
    throw refuse(
      'url',
      `is not a URL of at most ${URL_LENGTH_MAX} characters, such as https://example.com/hook`,
    );
  }
  const { protocol, username, password, host } = new URL(url);
  if (protocol !== 'https:' && protocol !== 'http:')
    throw refuse('url', 'must begin with https:// or http://');
  if (username || password) throw refuse('url', 'may not hold a user or a password: give a secret instead');
  if (secret && !keyOf(secret)) {
    throw refuse('secret', 'must be whsec_ and 24 to 64 bytes in base64, or 16 to 256 characters');
  }
  return { host };
}

/** The bytes that sign; undefined for text that is no secret. */
function keyOf(secret: string): Buffer | undefined {
  if (!secret.startsWith(SECRET_PREFIX)) {
    return secret.length >= 16 && secret.length <= 256 ? Buffer.from(secret) : undefined;
  }
  const encoded = secret.slice(SECRET_PREFIX.length);
  const key = Buffer.from(encoded, 'base64');
  const isWhole = key.toString('base64').replace(/=+$/, '') === encoded.replace(/=+$/, '');
  return isWhole && key.length >= 24 && key.length <= 64 ? key : undefined;
}

/** The headers of one attempt. The id is the same in each: a receiver knows a repeat by it. */
export function signedHeaders(
  secret: string,
  { id, at, body }: { id: string; at: Date; body: Buffer },
): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1000));
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp };
  const key = secret && keyOf(secret);
  if (!key) return headers;
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
  return { ...headers, 'webhook-signature': `v1,${signature}` };
}

const FIRST_MS = 5000;
const LAST_MS = 4 * 3600 * 1000;
/** For how long an end is told again. */
export const TOLD_FOR_MS = 24 * 3600 * 1000;

/** Milliseconds from a failed attempt to the next; the first after 5 s, then four times as long each, at most 4 h. */
export const untilNextAttemptMs = (attempts: number): number =>
  Math.min(FIRST_MS * 4 ** (attempts - 1), LAST_MS);

/** Results larger than this, and those that are not JSON, are left out: who is told fetches the call. Bytes. */
const RESULT_BYTES_MAX = 1024 * 1024;

interface EndedCommon {
  callId: string;
  functionId: string;
  status: string;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

/** A call with one input, or one with many, whose outputs are fetched by who wants them. */
export type EndedCall = EndedCommon &
  (
    | { result: Buffer | null; result_format: string; error: object | null; attempts: number }
    | Pick<MapFacts, 'num_inputs' | 'num_succeeded' | 'num_failed' | 'num_terminated'>
  );

/** The body: the call with the names of the REST API. Its result is JSON already and put in as it is. */
export function composeBody(call: EndedCall, at: Date): Buffer {
  const { callId, functionId, status, createdAt, startedAt, finishedAt, ...rest } = call;
  const { result = null, ...others } = 'result' in rest ? rest : { ...rest, result: null };
  const isEmbedded =
    'result_format' in others && others.result_format === 'json' && (result?.length ?? 0) <= RESULT_BYTES_MAX;
  const omitted = result !== null && !isEmbedded;
  const document = JSON.stringify({
    type: `function_call.${status}`,
    timestamp: at.toISOString(),
    data: {
      call_id: callId,
      function_id: functionId,
      status,
      created_at: createdAt,
      started_at: startedAt,
      finished_at: finishedAt,
      ...others,
      ...(omitted ? { result_omitted: true } : {}),
    },
  });
  const embedded = !omitted && result ? result : Buffer.from('null');
  return Buffer.concat([Buffer.from(`${document.slice(0, -2)},"result":`), embedded, Buffer.from('}}')]);
}
