/** Which containers take too long on their way, by what their own spec allows. */
import type { ContainerState } from './container-state';
import { startLimitMs, stopLimitMs } from './limits';

/** A container that starts or stops. */
export interface UnderWay {
  id: string;
  state: ContainerState;
  /** When it was placed, or began to stop. */
  since: Date;
  /** Seconds that one input may run. */
  timeout: number;
  /** Seconds that it may take until it is ready. */
  startup: number;
}

/** The same words for those whose limit is the same. */
export interface Overdue {
  event: 'giveUp' | 'lose';
  reason: string;
  ids: string[];
}

const minutes = (ms: number) => `${Math.round(ms / 60_000)} minutes`;

export function findOverdue(underWay: readonly UnderWay[], now: Date): Overdue[] {
  const found = new Map<string, Overdue>();
  for (const { id, state, since, timeout, startup } of underWay) {
    const isStopping = state === 'stopping';
    const limitMs = isStopping ? stopLimitMs(timeout) : startLimitMs(startup);
    if (now.getTime() - since.getTime() <= limitMs) continue;
    const reason = isStopping
      ? `The container had not ended ${minutes(limitMs)} after it was asked to.`
      : `The container was not ready ${minutes(limitMs)} after it was placed.`;
    const same = found.get(reason) ?? { event: isStopping ? 'lose' : 'giveUp', reason, ids: [] };
    same.ids.push(id);
    found.set(reason, same);
  }
  return [...found.values()];
}
