/**
 * The life of a container.
 *
 * pending: SetWish put it there; a placement takes it out. assigned: has a place; the runner's first report takes it
 * out. starting: the runner works on it. ready: takes inputs. stopping: a smaller wish, or its runner, put it there;
 * the runner's last report takes it out. stopped, failed, lost: final. Whatever takes too long, the deadlines end.
 */
export const CONTAINER_STATES = [
  'pending',
  'assigned',
  'starting',
  'ready',
  'stopping',
  'stopped',
  'failed',
  'lost',
] as const;

export type ContainerState = (typeof CONTAINER_STATES)[number];

interface Transition {
  from: readonly ContainerState[];
  to: ContainerState;
}

/**
 * Every way there is, and all lead forward: a late or repeated report finds no row and changes nothing.
 * `cancel` ends what has no place yet; `giveUp` is a deadline's; `lose` is for a node that is gone.
 */
export const TRANSITIONS = {
  place: { from: ['pending'], to: 'assigned' },
  cancel: { from: ['pending'], to: 'stopped' },
  start: { from: ['assigned'], to: 'starting' },
  ready: { from: ['assigned', 'starting'], to: 'ready' },
  stop: { from: ['assigned', 'starting', 'ready'], to: 'stopping' },
  end: { from: ['assigned', 'starting', 'ready', 'stopping'], to: 'stopped' },
  fail: { from: ['assigned', 'starting', 'ready', 'stopping'], to: 'failed' },
  giveUp: { from: ['assigned', 'starting'], to: 'failed' },
  lose: { from: ['assigned', 'starting', 'ready', 'stopping'], to: 'lost' },
} as const satisfies Record<string, Transition>;

export type ContainerEvent = keyof typeof TRANSITIONS;

/** Where nothing leads out of. */
export const isFinal = (state: ContainerState): boolean =>
  state === 'stopped' || state === 'failed' || state === 'lost';

/** What a runner may say of a container, and what that does to it. */
export const REPORTS = {
  starting: 'start',
  ready: 'ready',
  stopping: 'stop',
  stopped: 'end',
  failed: 'fail',
} as const satisfies Partial<Record<ContainerState, ContainerEvent>>;

export type ReportedState = keyof typeof REPORTS;
