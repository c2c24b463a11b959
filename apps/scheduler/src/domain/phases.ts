/** One step of how a container came to be. */
export interface Step {
  name: string;
  startedAt: Date;
  durationMs: number;
}

export interface Course {
  created_at: Date;
  placed_at: Date | null;
  /** The runner's first report. */
  started_at: Date | null;
}

/**
 * The whole way, in order. The runner knows image, create, start and init; before them come `queued` (until it had a
 * place) and `placed` (until the runner began: its first step, or its first report when it names none).
 */
export function courseOf({ created_at, placed_at, started_at }: Course, steps: readonly Step[]): Step[] {
  const between = (name: string, from: Date | null, to: Date | null): Step[] => {
    if (!from || !to || steps.some((step) => step.name === name)) return [];
    // The runner's clock is another machine's: a start before its placing is no time at all.
    return [{ name, startedAt: from, durationMs: Math.max(0, to.getTime() - from.getTime()) }];
  };
  const begun = steps[0]?.startedAt ?? started_at;
  return [...between('queued', created_at, placed_at), ...between('placed', placed_at, begun), ...steps];
}
