/**
 * What strangers may ask of one function: so many requests held at a time, and so many begun in a second. Endpoints
 * without a gate are public, and what they are asked costs their owner.
 */
export interface WebBounds {
  /** Lets a request in and gives what lets it out again; undefined: there are too many. */
  enter(functionId: string): (() => void) | undefined;
}

interface Count {
  held: number;
  /** When the last request would have been due at the steady rate (GCRA); milliseconds. */
  dueAt: number;
}

/** `ratePerSecond` may be gone over by as many as come in one second. */
export function webBounds(
  { heldMax, ratePerSecond }: { heldMax: number; ratePerSecond: number },
  now: () => number = Date.now,
): WebBounds {
  const counts = new Map<string, Count>();
  const intervalMs = 1000 / ratePerSecond;
  return {
    enter(functionId) {
      const at = now();
      const count = counts.get(functionId) ?? { held: 0, dueAt: at };
      const dueAt = Math.max(count.dueAt, at) + intervalMs;
      if (count.held >= heldMax || dueAt - at > 1000) return undefined;
      count.held++;
      count.dueAt = dueAt;
      counts.set(functionId, count);
      let left = false;
      return () => {
        if (left) return;
        left = true;
        count.held--;
        if (count.held === 0 && count.dueAt <= now()) counts.delete(functionId);
      };
    },
  };
}
