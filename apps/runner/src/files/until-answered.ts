import { BerthError } from '@berth/service-kit';
import { Backoff } from './backoff';

/** Longer than a restart of a peer takes; its supervisor starts it again. */
const TRY_MS = 30_000;

/** Asks a peer again for half a minute while it does not answer. Errors: the last one; any other one at once. */
export async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
  const until = Date.now() + TRY_MS;
  const backoff = new Backoff(100, 1000);
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const mayPass = error instanceof BerthError && ['unavailable', 'timeout'].includes(error.kind);
      if (!mayPass || Date.now() > until) throw error;
      await backoff.wait();
    }
  }
}
