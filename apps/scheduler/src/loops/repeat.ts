import type { Database } from '@berth/database';
import type { Logger } from '@berth/service-kit';
import type { Changes } from '../change';

/** Work that is done on a slow timer, and at once when woken. Running it twice changes nothing. */
export interface Loop {
  start(): void;
  /** There may be something to do now. */
  wake(): void;
  /** Resolves when the run that is under way has ended. */
  stop(): Promise<void>;
}

/** What loops are made of. */
export interface LoopParts {
  db: Database;
  change: Changes['change'];
  clock: () => Date;
  log: Logger;
  everyMs?: number;
}

/** A loop around `work`. One run at a time; a wake-up during a run is another run after it. */
export function repeat(everyMs: number, work: () => Promise<void>, onError: (error: unknown) => void): Loop {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let again = false;

  const run = async () => {
    try {
      while (again && timer) {
        again = false;
        await work();
      }
    } catch (error) {
      onError(error); // The timer tries again.
    } finally {
      running = undefined;
    }
  };
  const wake = () => {
    if (!timer) return;
    again = true;
    running ??= run();
  };
  return {
    wake,
    start() {
      timer ??= setInterval(wake, everyMs);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      timer = undefined;
      await running;
    },
  };
}
