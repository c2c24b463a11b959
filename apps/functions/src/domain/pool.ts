/** How many containers a function version should have. All times are milliseconds since 1970. */
export interface PoolFacts {
  /** Inputs that are pending or running. */
  open: number;
  /** Inputs that one container runs at a time. */
  slots: number;
  minContainers: number;
  maxContainers: number;
  scaledownMs: number;
  /** It is the newest version of a function whose app takes calls. */
  current: boolean;
  /** Containers wished for now. */
  wish: number;
  /** When as many containers as are wished for were last needed. */
  neededAt: number;
  /** Containers that failed in a row before they were ready, for no fault of the user's. */
  failures: number;
  failedAt: number;
  /** Others wait for the room that idle containers hold. */
  yields: boolean;
}

export interface PoolDecision {
  wish: number;
  neededAt: number;
  /** When to decide anew though nothing happens; undefined: not before something does. */
  againAt: number | undefined;
}

const BACKOFF_FIRST_MS = 1000;
const BACKOFF_MAX_MS = 60_000;

/** How long after its last failure a pool rests. */
export const backoffMs = (failures: number): number =>
  failures === 0 ? 0 : Math.min(BACKOFF_FIRST_MS * 2 ** (failures - 1), BACKOFF_MAX_MS);

/** Failures in a row after which what waits is told that it will not run. */
export const FAILURES_MAX = 5;

/** Containers that open inputs and the minimum ask for right now. */
export const neededContainers = (
  facts: Pick<PoolFacts, 'open' | 'slots' | 'minContainers' | 'maxContainers' | 'current'>,
): number =>
  Math.max(
    facts.current ? facts.minContainers : 0,
    Math.min(facts.maxContainers, Math.ceil(facts.open / facts.slots)),
  );

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
 * wait for its room. A version that was superseded, or whose app stopped, keeps no minimum; its open inputs still get
 * containers.
 */
export function decidePool(facts: PoolFacts, now: number): PoolDecision {
  const { open, slots, wish, neededAt, scaledownMs, current } = facts;
  const needed = neededContainers(facts);

  const restsUntil = facts.failedAt + backoffMs(facts.failures);
  if (needed > wish && restsUntil > now) return { wish, neededAt, againAt: restsUntil };

  if (needed >= wish) return { wish: needed, neededAt: now, againAt: undefined };
  // Nothing will ever call a version that is not current again, once what it has is done.
  const keptUntil = !facts.yields && (current || open > 0) ? neededAt + scaledownMs : now;
  if (keptUntil <= now) return { wish: needed, neededAt: now, againAt: undefined };
  return { wish, neededAt, againAt: keptUntil };
}
