import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Agent, fetch, type Response } from 'undici';
import type { Credentials } from './credentials';

/** What the API answered instead of a result. */
export class BerthApiError extends Error {
  constructor(
    readonly status: number,
    /** `not_found`, `invalid_argument`, … */
    readonly code: string,
    message: string,
    /** The input at fault; null when none is. */
    readonly field: string | null,
    /** What the platform's logs know this request by. */
    readonly requestId: string,
  ) {
    super(message);
    this.name = 'BerthApiError';
  }
}

export interface RequestOptions {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  /** A body that is JSON already. */
  text?: string;
  /** Sent as it is, as application/octet-stream. */
  bytes?: Uint8Array;
  signal?: AbortSignal;
  /** A repeat with the same key is the same request. Default for changes: a fresh one for this call. */
  idempotencyKey?: string;
}

/** For how long a request is repeated to a platform that does not answer. Milliseconds. */
const PATIENCE = {
  /** It has answered this client before: it is being restarted, and its supervisor may back off for seconds. */
  known: 60_000,
  /** It never has: most likely it is not there, and whoever waits should hear so. */
  unknown: 3_000,
};
const RETRY_FIRST_MS = 100;
const RETRY_LAST_MS = 2_000;

/** Speaks REST: authenticates, retries what is safe to repeat, turns error bodies into BerthApiError. */
export class Http {
  // A call may run for hours: neither its headers nor its lines have a deadline here.
  private readonly agent: Agent;
  private readonly auth: Record<string, string>;
  private hasAnswered = false;

  constructor(
    private readonly credentials: Credentials,
    private readonly patience = PATIENCE,
  ) {
    const { apiKey, tokenId, tokenSecret, socketPath } = credentials;
    this.agent = new Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      ...(socketPath ? { connect: { socketPath } } : {}),
    });
    if (apiKey) this.auth = { 'x-api-key': apiKey };
    else this.auth = tokenId ? { authorization: `Bearer ${tokenId}.${tokenSecret}` } : {};
  }

  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const response = await this.send(method, path, options);
    return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
  }

  /** The bytes of an answer as they come; throws where they end before they should. */
  async bytes(path: string, options: RequestOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    return (await this.send('GET', path, options)).body as unknown as AsyncIterable<Uint8Array>;
  }

  /** The documents of an `application/x-ndjson` answer as they come. */
  async *lines<T extends object>(path: string, options: RequestOptions = {}): AsyncGenerator<T> {
    const response = await this.send('GET', path, options);
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of response.body!) {
      rest += decoder.decode(chunk as Uint8Array, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const document = JSON.parse(line) as Awaited<T>;
        if (isErrorBody(document)) throw toError(500, document);
        yield document;
      }
    }
  }

  /** All items of a list, page after page. */
  async *pages<T>(path: string, options: RequestOptions = {}): AsyncGenerator<T> {
    let cursor: string | undefined;
    do {
      const page = await this.json<{ data: T[]; next_cursor?: string }>('GET', path, {
        ...options,
        query: { ...options.query, cursor },
      });
      yield* page.data;
      cursor = page.next_cursor || undefined;
    } while (cursor);
  }

  close(): Promise<void> {
    return this.agent.close();
  }

  private async send(method: string, path: string, options: RequestOptions): Promise<Response> {
    const url = new URL(path, this.credentials.apiUrl);
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) url.searchParams.set(key, String(value));
    }
    const text = options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    const init = {
      method,
      dispatcher: this.agent,
      headers: {
        ...this.auth,
        ...(options.bytes ? { 'content-type': 'application/octet-stream' } : {}),
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        // With a key of its own, a change may be sent again when its answer got lost.
        ...(method === 'GET' ? {} : { 'idempotency-key': options.idempotencyKey ?? randomUUID() }),
      },
      body: options.bytes ?? text,
      ...(options.signal ? { signal: options.signal } : {}),
    };
    const beganAt = performance.now();
    for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(2 * pauseMs, RETRY_LAST_MS)) {
      const isLate = () =>
        performance.now() - beganAt > this.patience[this.hasAnswered ? 'known' : 'unknown'];
      try {
        const response = await fetch(url, init);
        this.hasAnswered = true;
        if (response.ok) return response;
        const error = toError(response.status, await bodyOf(response));
        if (![429, 503].includes(response.status) || isLate()) throw error;
      } catch (error) {
        if (error instanceof BerthApiError || options.signal?.aborted) throw error;
        if (isLate()) {
          throw new Error(
            `Berth does not answer at ${this.credentials.apiUrl}: is it running (npm run status)?`,
            { cause: error },
          );
        }
      }
      await setTimeout(pauseMs * (0.5 + Math.random()), undefined, { signal: options.signal });
    }
  }
}

interface ErrorBody {
  error: { code: string; message: string; field: string | null; request_id: string };
}

/** A stream that breaks off ends with one line that holds nothing but an error. */
const isErrorBody = (document: object): document is ErrorBody =>
  'error' in document && Object.keys(document).length === 1;

async function bodyOf(response: Response): Promise<ErrorBody | undefined> {
  const text = await response.text();
  try {
    return JSON.parse(text) as ErrorBody;
  } catch {
    return undefined; // Not from Berth's gateway: a proxy in between, say.
  }
}

function toError(status: number, body: ErrorBody | undefined): BerthApiError {
  const { code, message, field, request_id } = body?.error ?? {
    code: 'unknown',
    message: `The answer was HTTP ${status} without an error document: is something else at this address?`,
    field: null,
    request_id: '',
  };
  return new BerthApiError(status, code, message, field, request_id);
}
