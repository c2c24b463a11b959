/** A call with many inputs: what it is worth at a moment, how many it may have open, and how its outputs are cursored. */
import { BerthError } from '@berth/service-kit';
import type { InputState } from './input-state';

/** Inputs of one request that makes a whole map, and of one that adds to an open one. */
export const MAP_INPUTS_MAX = 10_000;
export const PUT_INPUTS_MAX = 1000;
/** An index is a positive int32. */
const INDEX_MAX = 2 ** 31 - 1;

const OPEN_INPUTS_MIN = 1000;
const OPEN_INPUTS_MAX = 10_000;

/**
 * Inputs of one map that may be open at a time: enough to keep all containers that it may have busy, and few enough
 * that the queue holds no more than what is soon run. What is put beyond waits with its caller.
 */
export const openInputsMax = (definition: {
  max_containers: number;
  max_concurrent_inputs: number;
}): number =>
  Math.min(
    OPEN_INPUTS_MAX,
    Math.max(OPEN_INPUTS_MIN, 2 * definition.max_containers * definition.max_concurrent_inputs),
  );

export interface MapFacts {
  num_inputs: number;
  num_succeeded: number;
  num_failed: number;
  num_terminated: number;
  closed: boolean;
  cancelled: boolean;
  /** One of its inputs runs. */
  runs: boolean;
}

/** Inputs whose outputs are numbered. */
export const endedInputs = (map: Pick<MapFacts, 'num_succeeded' | 'num_failed' | 'num_terminated'>): number =>
  map.num_succeeded + map.num_failed + map.num_terminated;

/** Whether nothing can become of it any more. */
export const isMapFinal = (map: Omit<MapFacts, 'cancelled' | 'runs'>): boolean =>
  map.closed && endedInputs(map) === map.num_inputs;

/** Inputs that have not ended. */
export const openInputs = (map: Omit<MapFacts, 'closed' | 'cancelled' | 'runs'>): number =>
  map.num_inputs - endedInputs(map);

/**
 * A map's state follows from its inputs'. One that failed is a failure, also when the rest was ended because of that;
 * one that was cancelled before it was done is terminated, whatever had ended by then.
 */
export function mapState(map: MapFacts): InputState {
  if (!isMapFinal(map)) return map.runs || endedInputs(map) > 0 ? 'running' : 'pending';
  if (map.cancelled) return 'terminated';
  if (map.num_failed > 0) return 'failure';
  return map.num_terminated > 0 ? 'terminated' : 'success';
}

/** Errors: `invalid` with the input at fault. */
export function checkIndexes(indexes: readonly number[]): void {
  const seen = new Set<number>();
  for (const [place, index] of indexes.entries()) {
    const field = `inputs[${place}].index`;
    if (!Number.isInteger(index) || index < 0 || index > INDEX_MAX) {
      throw new BerthError('invalid', `${field} must be from 0 to ${INDEX_MAX}.`, { field });
    }
    if (seen.has(index)) {
      throw new BerthError('invalid', `${field} is ${index}, as that of another input before it.`, { field });
    }
    seen.add(index);
  }
}

export type OutputOrder = 'recorded' | 'index';

const CURSOR_LETTERS: Record<OutputOrder, string> = { recorded: 'e', index: 'i' };

/** Where to read on after an output: by its entry in the log, or by its index. */
export const cursorOf = (order: OutputOrder, output: { entry: number; index: number }): string =>
  `${CURSOR_LETTERS[order]}${order === 'recorded' ? output.entry : output.index}`;

/** The place of the last output that was read; that before the first for no cursor. Errors: `invalid`. */
export function readCursor(order: OutputOrder, cursor: string): number {
  if (!cursor) return order === 'recorded' ? 0 : -1;
  const [, letter, digits] = /^([ei])(\d{1,10})$/.exec(cursor) ?? [];
  if (letter === CURSOR_LETTERS[order] && Number(digits) <= INDEX_MAX) return Number(digits);
  throw new BerthError(
    'invalid',
    letter
      ? 'after is a cursor of the other order: read on in the order in which you began.'
      : 'after is not the cursor of an output: start again without it.',
    { field: 'after' },
  );
}
