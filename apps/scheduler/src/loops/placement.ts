import { placeWaiting } from '../place-waiting';
import { anyWaits, lockPlacement } from '../store/placement-store';
import { repeat, type Loop, type LoopParts } from './repeat';

/**
 * Places what waits when room appears: woken by a container's end and a node's registration. The timer is for the ends
 * that another replica heard of, and for kept nodes, whose turn comes with time; one look at an index when nothing waits.
 */
export const createPlacement = ({ db, change, log, everyMs = 3000 }: LoopParts): Loop =>
  repeat(
    everyMs,
    async () => {
      if (!(await anyWaits(db))) return;
      await change(async (made) => {
        await lockPlacement(made.tx);
        await placeWaiting(made);
      });
    },
    (err) => log.warn({ err }, 'placing failed: trying again soon'),
  );
