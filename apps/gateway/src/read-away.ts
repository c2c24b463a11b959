import type { IncomingMessage } from 'node:http';

/** How much of a body that is too large is read and forgotten. */
const READ_AWAY_BYTES_MAX = 256 * 1024 * 1024;
const READ_AWAY_MS = 10_000;

/**
 * Reads the rest of a request. A connection that is closed with unread bytes in it is reset, and the client would see
 * that in place of the answer. Bounded: who sends more than that sees the reset.
 */
export function readAway(raw: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const done = () => {
      clearTimeout(timer);
      raw.off('data', count).off('end', done).off('close', done);
      resolve();
    };
    const count = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > READ_AWAY_BYTES_MAX) done();
    };
    const timer = setTimeout(done, READ_AWAY_MS);
    if (raw.readableEnded || raw.destroyed) return done();
    raw.on('data', count).on('end', done).on('close', done).resume();
  });
}
