/** How many containers a function version should have. All times are milliseconds since 1970. */
export interface PoolFacts {
  /** Inputs that are pending or running. */
  open: number;
  /** Inputs that one container runs at a time. */
  slots: number;
  minContainers: number;
  maxContainers: number;
  /** Idle containers that are kept beside the busy ones while there are any. */
  bufferContainers: number;
  scaledownMs: number;
  /** It is the newest version of a function whose app takes calls. */
  current: boolean;
  /** Containers wished for now. */
  wish: number;
  /** Of these, how many there are; undefined when nobody knows. */
  alive: number | undefined;
  /** When as many containers as are wished for were last needed. */
  neededAt: number;
  /** Containers that failed in a row before they were ready. */
  failures: number;
  failedAt: number;
  /** The last of them failed by what it loads. */
  failedByUser: boolean;
  /** Others wait for the room that idle containers hold. */
  yields: boolean;
  /** Containers can be made: without its image those that are there are kept or go, and none comes. */
  mayGrow: boolean;
}

/** Inputs that one container of a function runs at a time: with batches, as many as its batches hold. */
export const inputsPerContainer = ({
  max_concurrent_inputs,
  batching,
}: {
  max_concurrent_inputs: number;
  batching: { max_batch_size: number } | null;
}): number => max_concurrent_inputs * (batching?.max_batch_size ?? 1);

export interface PoolDecision {
  wish: number;
  neededAt: number;
  /** The scheduler has to hear of it, though the number may be the same: containers are gone. */
  tell: boolean;
}

const BACKOFF_FIRST_MS = 1000;
const BACKOFF_MAX_MS = 60_000;

/** How long after its last failure a pool rests. */
export const backoffMs = (failures: number): number =>
  failures === 0 ? 0 : Math.min(BACKOFF_FIRST_MS * 2 ** (failures - 1), BACKOFF_MAX_MS);

/** Failures in a row after which what waits is told that it will not run. */
export const FAILURES_MAX = 5;

/** Containers that open inputs, the buffer beside them and the minimum ask for right now. */
export const neededContainers = ({
  open,
  slots,
  minContainers,
  maxContainers,
  bufferContainers,
  current,
}: Pick<
  PoolFacts,
  'open' | 'slots' | 'minContainers' | 'maxContainers' | 'bufferContainers' | 'current'
>): number => {
  const busy = Math.ceil(open / slots);
  const buffer = current && open > 0 ? bufferContainers : 0;
  return Math.max(current ? minContainers : 0, Math.min(maxContainers, busy + buffer));
};

/** Pools that let their idle containers go, the longest unneeded first, until `containers` are free. */
export function choosePoolsToYield<P extends { wish: number; needed: number; neededAt: number }>(
  pools: readonly P[],
  containers: number,
): P[] {
  const chosen: P[] = [];
  let freed = 0;
  for (const pool of [...pools].sort((a, b) => a.neededAt - b.neededAt)) {
    if (freed >= containers) break;
    if (pool.wish <= pool.needed) continue;
    chosen.push(pool);
    freed += pool.wish - pool.needed;
  }
  return chosen;
}

/**
 * Grows at once, shrinks late: a container is kept for the scale-down window after it was last needed, unless others
 * wait for its room; one that is gone is replaced when it is needed. A version that was superseded, or whose app stopped,
 * keeps no minimum; its open inputs still get containers.
 *
 * After containers that failed to start nothing is added for a while. What fails by what it loads ends the calls that
 * wait for it, so a new call tries at once and is told at once; a minimum does not. Nor is anything added without an image.
 */
export function decidePool(facts: PoolFacts, now: number): PoolDecision {
  const { open, wish, alive, neededAt, scaledownMs, current } = facts;
  const needed = neededContainers(facts);
  const held = Math.min(wish, alive ?? wish);

  const askedByCalls = facts.failedByUser && open > 0 && held === 0;
  const rests = !facts.mayGrow || (facts.failedAt + backoffMs(facts.failures) > now && !askedByCalls);
  const told = (decided: number, at: number): PoolDecision => ({
    wish: decided,
    neededAt: at,
    tell: decided !== wish || decided > held || (alive === undefined && decided > 0 && !rests),
  });
  if (needed > held) return rests ? told(held, neededAt) : told(needed, now);
  if (needed === held) return told(held, now);
  // Nothing will ever call a version that is not current again, once what it has is done.
  const keptUntil = !facts.yields && (current || open > 0) ? neededAt + scaledownMs : now;
  return keptUntil > now ? told(held, neededAt) : told(needed, now);
}
