/** Stops ephemeral apps whose client is gone: it has sent no heartbeat for a while. */
import type { Context } from '../context';
import { listSilentApps, markAppStopped } from '../store/app-store';
import { endApp } from './end-app';

const EVERY_MS = 5000;

export class SilentApps {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private since = Date.now();

  constructor(private readonly context: Context) {}

  start(): void {
    this.since = Date.now();
    const everyMs = Math.min(EVERY_MS, this.silenceMs / 4);
    this.timer ??= setInterval(() => {
      // While the platform was down nobody could be heard.
      if (Date.now() - this.since >= this.silenceMs) this.running ??= this.round();
    }, everyMs);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private get silenceMs(): number {
    return this.context.config.ephemeralSilenceSeconds * 1000;
  }

  private async round(): Promise<void> {
    const { db, config, log } = this.context;
    try {
      for (const appId of await listSilentApps(db, config.ephemeralSilenceSeconds)) {
        // A heartbeat that came in between wins.
        const ended = await endApp(this.context, appId, (tx) =>
          markAppStopped(tx, appId, { silentFor: config.ephemeralSilenceSeconds }),
        );
        if (ended) log.info({ appId }, 'an ephemeral app is stopped: its client is silent');
      }
    } catch (error) {
      log.warn({ err: error }, 'could not look for apps without a client: trying again soon');
    } finally {
      this.running = undefined;
    }
  }
}
