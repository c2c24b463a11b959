/** What a runner says that a container held, as it is stored. */
export interface Interval {
  container_id: string;
  sequence: number;
  organization_id: string;
  workspace_id: string;
  app_id: string;
  function_id: string;
  node_id: string;
  started_at: Date;
  ended_at: Date;
  millicores: number;
  memory: number;
  gpu: string[];
  last: boolean;
}

/** How far a runner's clock may be ahead of ours. */
const AHEAD_MS = 3_600_000;

/** Why an interval cannot be believed; undefined when it can. A late one can: runners spool while we are away. */
export function faultOf(interval: Interval, now: number): string | undefined {
  const { started_at, ended_at, sequence, millicores, memory } = interval;
  for (const name of ['container_id', 'organization_id', 'workspace_id', 'node_id'] as const) {
    if (interval[name] === '') return `${name} is missing`;
  }
  if (Number.isNaN(started_at.getTime()) || Number.isNaN(ended_at.getTime())) return 'a time is missing';
  if (ended_at < started_at) return 'it ends before it begins';
  if (ended_at.getTime() > now + AHEAD_MS) return 'it ends in the future';
  if (sequence < 0) return 'its sequence is negative';
  if (!(millicores >= 0) || !(memory >= 0)) return 'it holds less than nothing';
  return undefined;
}

/** Whether a repeat says the same. */
export const isSame = (one: Interval, other: Interval): boolean =>
  JSON.stringify(comparable(one)) === JSON.stringify(comparable(other));

const comparable = (interval: Interval): unknown[] => [
  interval.organization_id,
  interval.workspace_id,
  interval.app_id,
  interval.function_id,
  interval.node_id,
  interval.started_at.getTime(),
  interval.ended_at.getTime(),
  interval.millicores,
  interval.memory,
  interval.gpu,
  interval.last,
];
