/** How one input goes from accepted to ended. */
export type InputState = 'pending' | 'running' | 'success' | 'failure' | 'terminated';

/**
 * Who moves an input, and from where. The attempt is the fence beside the state: what a superseded attempt says is
 * stale.
 *
 * - `start`: a runner says that its container runs it.
 * - `reclaim`: the queue gave it out again, so its runner was silent for too long: another runs it as the next attempt.
 * - `republish`: its container is gone, or the queue lost it: it waits anew under the next attempt.
 * - `retry`: it failed, and is tried again: at once, or when it has waited for its delay (`due_at`).
 * - `succeed`, `fail`: its outcome. From `pending` too: an outcome can overtake the word that it began.
 * - `terminate`: its call was cancelled, or its app stopped.
 */
export const TRANSITIONS = {
  start: { from: ['pending'], to: 'running' },
  reclaim: { from: ['pending', 'running'], to: 'running' },
  republish: { from: ['pending', 'running'], to: 'pending' },
  retry: { from: ['pending', 'running'], to: 'pending' },
  succeed: { from: ['pending', 'running'], to: 'success' },
  fail: { from: ['pending', 'running'], to: 'failure' },
  terminate: { from: ['pending', 'running'], to: 'terminated' },
} as const satisfies Record<string, { from: readonly InputState[]; to: InputState }>;

export type InputEvent = keyof typeof TRANSITIONS;

const OPEN_STATES: readonly InputState[] = ['pending', 'running'];

export const isFinal = (state: InputState): boolean => !OPEN_STATES.includes(state);
