import { START_LIMIT_MS, STOP_LIMIT_MS } from '../domain/limits';
import { advance, findOverdue } from '../store/container-store';
import { lockPlacement } from '../store/placement-store';
import { repeat, type Loop, type LoopParts } from './repeat';

const minutes = (ms: number) => `${ms / 60_000} minutes`;
const NOT_READY = `The container was not ready ${minutes(START_LIMIT_MS)} after it was placed.`;
const NOT_STOPPED = `The container had not ended ${minutes(STOP_LIMIT_MS)} after it was asked to.`;

/** Ends containers that take too long on their way, and tells their nodes. */
export const createDeadlines = ({ db, change, clock, log, everyMs = 15_000 }: LoopParts): Loop =>
  repeat(
    everyMs,
    async () => {
      const at = clock().getTime();
      const overdue = await findOverdue(db, new Date(at - START_LIMIT_MS), new Date(at - STOP_LIMIT_MS));
      if (overdue.length === 0) return;
      const stopping = overdue.filter(({ state }) => state === 'stopping').map(({ id }) => id);
      const starting = overdue.filter(({ state }) => state !== 'stopping').map(({ id }) => id);
      await change(async ({ tx, now, tell }) => {
        await lockPlacement(tx);
        tell(await advance(tx, stopping, 'lose', { now, reason: NOT_STOPPED }));
        tell(
          await advance(tx, starting, 'giveUp', {
            now,
            reason: NOT_READY,
            error: { type: 'infrastructure', message: NOT_READY },
          }),
        );
      });
      log.warn({ containers: overdue.map(({ id }) => id) }, 'containers took too long and were ended');
    },
    (err) => log.warn({ err }, 'looking for overdue containers failed: trying again soon'),
  );
