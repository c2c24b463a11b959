/** Does what is due at its moment: a timer wakes for the next one that is known, and a slow scan behind it finds the rest. */
import type { Logger } from '@berth/service-kit';

const SCAN_MS = 5000;
/** Nothing is looked for more often than this, even when the clocks of two machines differ. */
const REST_MS = 20;

export class DueLoop {
  private scan: NodeJS.Timeout | undefined;
  private next: NodeJS.Timeout | undefined;
  private nextAt = Infinity;
  private running: Promise<void> | undefined;
  private stopped = false;

  /** `work` does what is due and gives the milliseconds until more is; undefined: as far as is known, nothing. */
  constructor(
    private readonly name: string,
    private readonly work: () => Promise<number | undefined>,
    private readonly log: Logger,
  ) {}

  start(): void {
    this.scan ??= setInterval(() => this.round(), SCAN_MS);
    this.scan.unref();
    this.round();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.scan);
    clearTimeout(this.next);
    await this.running;
  }

  /** Something is due after this many milliseconds. */
  wake(afterMs: number): void {
    const at = Date.now() + afterMs;
    // What is due later than the next scan is left to that.
    if (this.stopped || afterMs > SCAN_MS || at >= this.nextAt) return;
    clearTimeout(this.next);
    this.nextAt = at;
    this.next = setTimeout(() => this.round(), Math.max(afterMs, REST_MS));
  }

  private round(): void {
    this.nextAt = Infinity;
    clearTimeout(this.next);
    if (this.stopped) return;
    // What became due during a round that began before is looked for after it.
    if (this.running) return this.wake(REST_MS);
    this.running = this.work()
      .then((afterMs) => {
        if (afterMs !== undefined) this.wake(afterMs);
      })
      .catch((error: unknown) =>
        this.log.warn({ err: error, loop: this.name }, 'a round ended early: the next one goes on'),
      )
      .finally(() => (this.running = undefined));
  }
}
