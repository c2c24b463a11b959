import { setTimeout as pause } from 'node:timers/promises';

/** Pauses that double from `firstMs` to `maxMs`, until something works again. */
export class Backoff {
  #nextMs: number;

  constructor(
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {
    this.#nextMs = firstMs;
  }

  /** Resolves after the next pause, or at once when `signal` aborts. */
  async wait(signal?: AbortSignal): Promise<void> {
    const ms = this.#nextMs;
    this.#nextMs = Math.min(2 * ms, this.maxMs);
    await pause(ms, undefined, { signal, ref: false }).catch(() => undefined);
  }

  reset(): void {
    this.#nextMs = this.firstMs;
  }
}
