import { setTimeout } from 'node:timers/promises';
import { BerthApiError } from './http';

/** For how long a stream is asked for again that does not come. Milliseconds. */
const PATIENCE_MS = 60_000;
const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 2000;

/** Reads a stream to its end over restarts of the platform: `open` opens it behind what was given last. */
export async function* resume<T>(open: () => AsyncIterable<T>, signal?: AbortSignal): AsyncGenerator<T> {
  let brokeAt: number | undefined;
  for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(2 * pauseMs, RETRY_LAST_MS)) {
    try {
      for await (const each of open()) {
        brokeAt = undefined;
        pauseMs = RETRY_FIRST_MS;
        yield each;
      }
      return;
    } catch (error) {
      brokeAt ??= performance.now();
      const refused = error instanceof BerthApiError && error.code !== 'unavailable';
      if (refused || signal?.aborted || performance.now() - brokeAt > PATIENCE_MS) throw error;
    }
    await setTimeout(pauseMs * (0.5 + Math.random()), undefined, signal ? { signal } : {});
  }
}
