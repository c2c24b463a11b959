import { BerthError } from '@berth/service-kit';
import type { Interval } from './interval';

/** A place in a list of usage, which is ordered by these three. */
export type Position = Pick<Interval, 'started_at' | 'container_id' | 'sequence'>;

const FORM = /^(\d{1,14})\/(ta-[0-9A-Za-z]{22})\/(\d{1,10})$/;
const SEQUENCE_MAX = 2 ** 31 - 1;

/** A position as one word, for a cursor. */
export const positionOf = ({ started_at, container_id, sequence }: Position): string =>
  `${started_at.getTime()}/${container_id}/${sequence}`;

/** The position that a cursor holds. Errors: `invalid` for one that this list never gave. */
export function readPosition(word: string): Position {
  const [, started, container_id, sequence] = FORM.exec(word) ?? [];
  if (!container_id || Number(sequence) > SEQUENCE_MAX) {
    throw new BerthError('invalid', 'cursor is not one that this list gave: start again without it.', {
      field: 'cursor',
    });
  }
  return { started_at: new Date(Number(started)), container_id, sequence: Number(sequence) };
}
