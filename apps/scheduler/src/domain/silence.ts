import { SILENCE_LIMIT_MS } from './limits';

export interface Ear {
  /** Whether silence can be judged at `now`: asked again and again. */
  listens(now: Date): boolean;
  /** Nothing could be heard until now. */
  wasDeaf(): void;
}

/**
 * Who has just started, was suspended, or had no database, has heard nobody, and that is not the nodes' silence. An ear
 * judges only once it has listened for the whole limit without a gap; a gap is as long as two and a half heartbeats.
 */
export function createEar(): Ear {
  let since: number | undefined;
  let last = 0;
  return {
    listens(now) {
      const at = now.getTime();
      if (since === undefined || at - last > SILENCE_LIMIT_MS / 2) since = at;
      last = at;
      return at - since >= SILENCE_LIMIT_MS;
    },
    wasDeaf() {
      since = undefined;
    },
  };
}
