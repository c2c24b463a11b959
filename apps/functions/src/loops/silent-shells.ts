/** Ends the containers of shells whose gateway is gone, or that were left when this service stopped. */
import type { Context } from '../context';
import { closeShell } from '../shells/wish';
import { listSilentShells } from '../store/shell-store';

const EVERY_MS = 10_000;
/** Longer than a platform takes to restart. */
const SILENCE_SECONDS = 60;

export class SilentShells {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(private readonly context: Pick<Context, 'db' | 'scheduler' | 'log'>) {}

  start(): void {
    this.timer ??= setInterval(() => (this.running ??= this.round()), EVERY_MS);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private async round(): Promise<void> {
    const { db, log } = this.context;
    try {
      for (const shell of await listSilentShells(db, SILENCE_SECONDS)) await closeShell(this.context, shell);
    } catch (error) {
      log.warn({ err: error }, 'could not close silent shells: trying again soon');
    } finally {
      this.running = undefined;
    }
  }
}
