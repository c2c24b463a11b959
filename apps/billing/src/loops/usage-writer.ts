import type { Sql } from '@berth/database';
import { BerthError } from '@berth/service-kit';
import type { Interval } from '../domain/interval';
import { storeIntervals, type Outcome } from '../store/usage-store';

export interface UsageWriter {
  /** Resolves when there is a committed row of this interval, its own or an earlier one's. Errors: `unavailable`. */
  write(interval: Interval): Promise<Outcome>;
}

interface Waiting {
  interval: Interval;
  resolve(outcome: Outcome): void;
  reject(error: unknown): void;
}

/**
 * Writes one statement at a time: what comes while it runs goes into the next one together. So a lone interval waits
 * for nothing, and a burst, such as what was spooled through an outage, costs a commit for each batch.
 */
export function createUsageWriter(db: Sql): UsageWriter {
  let waiting: Waiting[] = [];
  let writing = false;

  const writeBatch = async (batch: Waiting[]): Promise<void> => {
    try {
      const outcomes = await storeIntervals(
        db,
        batch.map(({ interval }) => interval),
      );
      batch.forEach(({ resolve }, index) => resolve(outcomes[index]!));
    } catch (error) {
      const lost = error instanceof BerthError && error.kind === 'unavailable';
      if (lost || batch.length === 1) return batch.forEach(({ reject }) => reject(error));
      for (const each of batch) await writeBatch([each]); // What cannot be written fails alone.
    }
  };

  const writeAll = async (): Promise<void> => {
    writing = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      await writeBatch(batch);
    }
    writing = false;
  };

  return {
    write: (interval) =>
      new Promise((resolve, reject) => {
        waiting.push({ interval, resolve, reject });
        if (!writing) void writeAll();
      }),
  };
}
