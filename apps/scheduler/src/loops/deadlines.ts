import { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { startLimitMs, stopLimitMs } from '../domain/limits';
import { findOverdue } from '../domain/overdue';
import { advance, listUnderWay } from '../store/container-store';
import { lockPlacement } from '../store/placement-store';
import { repeat, type Loop, type LoopParts } from './repeat';

/** Ends containers that take longer on their way than their spec allows, and tells their nodes. */
export const createDeadlines = ({ db, change, clock, log, everyMs = 15_000 }: LoopParts): Loop =>
  repeat(
    everyMs,
    async () => {
      const at = clock();
      const before = (limitMs: number) => new Date(at.getTime() - limitMs);
      // Below these nothing is overdue, so few specs are ever read.
      const rows = await listUnderWay(db, before(startLimitMs(0)), before(stopLimitMs(0)));
      const underWay = rows.map((row) => {
        const { timeout, startupTimeout } = ContainerSpec.decode(row.spec);
        return { ...row, timeout, startup: startupTimeout || timeout };
      });
      const overdue = findOverdue(underWay, at);
      if (overdue.length === 0) return;
      await change(async ({ tx, now, tell }) => {
        await lockPlacement(tx);
        for (const { ids, event, reason } of overdue) {
          const error = event === 'giveUp' ? { error: { type: 'infrastructure', message: reason } } : {};
          tell(await advance(tx, ids, event, { now, reason, ...error }));
        }
      });
      log.warn({ containers: overdue.flatMap(({ ids }) => ids) }, 'containers took too long and were ended');
    },
    (err) => log.warn({ err }, 'looking for overdue containers failed: trying again soon'),
  );
