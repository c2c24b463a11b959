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
/** A million cores: more is a mistake, and would not fit its column. */
const MILLICORES_MAX = 1_000_000_000;
const CARDS_MAX = 1024;
const MODEL = /^[\x20-\x7e]{1,100}$/;

const REQUIRED_IDS = {
  container_id: 'ta',
  organization_id: 'or',
  workspace_id: 'wo',
  node_id: 'no',
} as const;
/** Empty for a container that is a workspace's machine and no function's. */
const OPTIONAL_IDS = { app_id: 'ap', function_id: 'fu' } as const;

/**
 * Why an interval cannot be believed; undefined when it can, and then its row can be written. A late one can: runners
 * spool while we are away.
 */
export function faultOf(interval: Interval, now: number): string | undefined {
  const { started_at, ended_at, sequence, millicores, memory, gpu } = interval;
  for (const [name, prefix] of entriesOf(REQUIRED_IDS)) {
    if (interval[name] === '') return `${name} is missing`;
    if (!isId(prefix, interval[name])) return `${name} is not an id`;
  }
  for (const [name, prefix] of entriesOf(OPTIONAL_IDS)) {
    if (interval[name] !== '' && !isId(prefix, interval[name])) return `${name} is not an id`;
  }
  // Before 1970 a clock was not set, and the database counts years in another way.
  if (!(started_at.getTime() >= 0) || !(ended_at.getTime() >= 0)) return 'a time is missing';
  if (ended_at < started_at) return 'it ends before it begins';
  if (ended_at.getTime() > now + AHEAD_MS) return 'it ends in the future';
  if (sequence < 0) return 'its sequence is negative';
  if (!(millicores >= 0) || !(memory >= 0)) return 'it holds less than nothing';
  if (millicores > MILLICORES_MAX) return 'it holds more cores than there are';
  if (gpu.length > CARDS_MAX || !gpu.every((model) => MODEL.test(model))) return 'gpu is no list of models';
  return undefined;
}

const entriesOf = <K extends string, V>(table: Record<K, V>) => Object.entries(table) as [K, V][];

const isId = (prefix: string, id: string): boolean =>
  id.startsWith(`${prefix}-`) && /^[0-9A-Za-z]{22}$/.test(id.slice(prefix.length + 1));

/** Which interval it is: the same for each report of one interval. */
export const keyOf = ({ container_id, sequence }: Pick<Interval, 'container_id' | 'sequence'>): string =>
  `${container_id}/${sequence}`;

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
