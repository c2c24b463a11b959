import type { Context } from '../context';
import { publishDueRetries, untilNextRetry } from '../store/retry-store';
import { DueLoop } from './due-loop';

/** Retries that are published in one transaction. */
const BATCH = 200;

/** Sends inputs that failed on their way again when they have waited long enough. */
export const createRetries = ({
  db,
  relay,
  autoscaler,
  log,
}: Pick<Context, 'db' | 'relay' | 'autoscaler' | 'log'>): DueLoop =>
  new DueLoop(
    'retries',
    async () => {
      const due = await db.transact((tx) => publishDueRetries(tx, BATCH));
      relay
        .publish(due.map(({ outbox }) => outbox))
        .catch((error: unknown) => log.warn({ err: error }, 'retries wait in the outbox'));
      for (const { functionId, version } of due) autoscaler.accepted(functionId, version);
      return due.length === BATCH ? 0 : untilNextRetry(db);
    },
    log,
  );
