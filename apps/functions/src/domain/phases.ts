/** One step of a call's way. Times are milliseconds since 1970. */
export interface Phase {
  name: string;
  startedAt: number;
  durationMs: number;
}

export interface InputTimes {
  acceptedAt: number;
  startedAt: number | undefined;
  finishedAt: number | undefined;
  recordedAt: number | undefined;
  /** How its container came to be, when it is the first that ran there. */
  container: readonly Phase[];
}

/**
 * The way of one input, in order: queued, then how its container came to be where it waited for that, then run and
 * record. What its container did before the input was accepted is none of its way and left out.
 */
export function composePhases({
  acceptedAt,
  startedAt,
  finishedAt,
  recordedAt,
  container,
}: InputTimes): Phase[] {
  if (startedAt === undefined) return [];
  const own = container
    .filter((phase) => phase.startedAt + phase.durationMs > acceptedAt)
    .map((phase) => {
      const begin = Math.max(phase.startedAt, acceptedAt);
      return { name: phase.name, startedAt: begin, durationMs: phase.startedAt + phase.durationMs - begin };
    });
  const queuedUntil = own[0]?.startedAt ?? startedAt;
  // Clocks of two machines may differ: a phase never lasts less than nothing.
  const span = (name: string, from: number, to: number): Phase => ({
    name,
    startedAt: from,
    durationMs: Math.max(0, to - from),
  });
  return [
    span('queued', acceptedAt, queuedUntil),
    ...own,
    ...(finishedAt === undefined ? [] : [span('run', startedAt, finishedAt)]),
    ...(finishedAt === undefined || recordedAt === undefined ? [] : [span('record', finishedAt, recordedAt)]),
  ];
}
