/** What a node has to do, of what it should run and what it runs. */

export interface Wanted {
  containerId: string;
  stop: boolean;
}

export interface Difference<A extends Wanted> {
  start: A[];
  drain: string[];
  /** On no list any more: ended at once. */
  end: string[];
  /** Ended, and no longer listed: nobody will ask for them again. */
  forget: string[];
}

/**
 * `alive` and `ended` are the containers of this process. One that has ended stays listed until its report has
 * arrived, and must not begin anew; one that should stop and never began has to be reported all the same, so it starts
 * in order to end.
 */
export function difference<A extends Wanted>(
  wanted: readonly A[],
  alive: ReadonlySet<string>,
  ended: ReadonlySet<string>,
): Difference<A> {
  const listed = new Map(wanted.map((each) => [each.containerId, each]));
  return {
    start: wanted.filter(({ containerId }) => !alive.has(containerId) && !ended.has(containerId)),
    drain: wanted.filter(({ containerId, stop }) => stop && alive.has(containerId)).map((a) => a.containerId),
    end: [...alive].filter((id) => !listed.has(id)),
    forget: [...ended].filter((id) => !listed.has(id)),
  };
}
