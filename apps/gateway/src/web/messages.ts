import type { Readable } from 'node:stream';

/**
 * The messages of a stream, one at a time, each taken from it only when it is asked for. Ends, without an error, when
 * the stream does, however. Not the stream's own iterator: that destroys a stream that says an error, and a server's
 * has then not said it yet.
 */
export class Messages<T> {
  #held: T[] = [];
  #isOver = false;
  #wake: (() => void) | undefined;

  constructor(private readonly stream: Readable) {
    const end = () => {
      this.#isOver = true;
      this.#wake?.();
    };
    stream.on('data', (message: T) => {
      this.#held.push(message);
      stream.pause();
      this.#wake?.();
    });
    stream.on('end', end).on('close', end).on('error', end).on('cancelled', end);
  }

  /** Undefined at the end. One at a time. */
  async next(): Promise<T | undefined> {
    while (this.#held.length === 0 && !this.#isOver) {
      this.stream.resume();
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    return this.#held.shift();
  }
}
