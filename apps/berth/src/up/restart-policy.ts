const FIRST_DELAY_MS = 200;
const DELAY_MS_MAX = 10_000;

/** A process that lived this long was healthy: its next end starts counting anew. */
const HEALTHY_MS = 60_000;

export interface Restart {
  /** Ends in a row, each after less than a healthy life; the first is 1. */
  failures: number;
  delayMs: number;
}

/**
 * Decides how long to wait before a process that ended by itself is started again: 0.2 s, doubled for each end in a
 * row, 10 s at most. `failures` is what the last decision said (0 before the first).
 */
export function restartAfter(failures: number, aliveMs: number): Restart {
  const inARow = aliveMs >= HEALTHY_MS ? 1 : failures + 1;
  return { failures: inARow, delayMs: Math.min(DELAY_MS_MAX, FIRST_DELAY_MS * 2 ** (inARow - 1)) };
}
