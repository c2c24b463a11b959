import type { RetryDelay } from './definition';

/** Milliseconds that an input waits after it has failed so many times, before it is tried again. */
export const retryDelayMs = ({ first, backoff, max }: RetryDelay, failures: number): number =>
  Math.min(first * backoff ** (failures - 1), max) * 1000;
