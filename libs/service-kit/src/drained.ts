import type { EventEmitter } from 'node:events';

/** Resolves when what `stream` has buffered is sent, or `signal` aborts; nothing of the wait stays on either of them. */
export const drained = (stream: EventEmitter, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const over = () => {
      stream.off('drain', over);
      signal.removeEventListener('abort', over);
      resolve();
    };
    stream.once('drain', over);
    signal.addEventListener('abort', over, { once: true });
  });
