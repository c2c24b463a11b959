import { KEPT_MS } from '../domain/limits';
import { deleteEnded } from '../store/container-store';
import { deleteNodes } from '../store/node-store';
import { repeat, type Loop, type LoopParts } from './repeat';

/** Deletes containers that ended, and nodes that went down, long ago. */
export const createRetention = ({ db, clock, log, everyMs = 10 * 60_000 }: LoopParts): Loop =>
  repeat(
    everyMs,
    async () => {
      const keptFrom = new Date(clock().getTime() - KEPT_MS);
      while (await deleteEnded(db, keptFrom));
      await deleteNodes(db, keptFrom);
    },
    (err) => log.warn({ err }, 'deleting old containers failed: trying again later'),
  );
