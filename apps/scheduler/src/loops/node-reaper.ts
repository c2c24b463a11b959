import { SILENCE_LIMIT_MS } from '../domain/limits';
import { createEar } from '../domain/silence';
import { advance, liveOn } from '../store/container-store';
import { findSilent, markDown } from '../store/node-store';
import { lockPlacement } from '../store/placement-store';
import { repeat, type Loop, type LoopParts } from './repeat';

/** Marks nodes down that have been silent for too long; their containers are lost, and their cards free. */
export function createNodeReaper({ db, change, clock, log, everyMs = 2000 }: LoopParts): Loop {
  const ear = createEar();
  return repeat(
    everyMs,
    async () => {
      if (!ear.listens(clock())) return;
      const heardBefore = new Date(clock().getTime() - SILENCE_LIMIT_MS);
      for (const { id, name } of await findSilent(db, heardBefore)) {
        const lost = await change(async ({ tx, now, say }) => {
          await lockPlacement(tx);
          if (!(await markDown(tx, id, heardBefore))) return [];
          const reason = `Its node ${name} fell silent.`;
          const ids = await advance(tx, await liveOn(tx, [id]), 'lose', { now, reason });
          say(ids);
          return ids;
        });
        log.warn({ nodeId: id, name, containers: lost.length }, 'a node is down: it fell silent');
      }
    },
    (err) => {
      ear.wasDeaf(); // Heartbeats were as little recorded as this.
      log.warn({ err }, 'looking for silent nodes failed: trying again soon');
    },
  );
}
