import { BerthError } from '@berth/service-kit';

/** [start, end) */
export interface Window {
  start: Date;
  end: Date;
}

const DAY_MS = 24 * 3600_000;

/** What a protobuf Timestamp may say. */
const EARLIEST_MS = Date.parse('0001-01-01T00:00:00Z');
const LATEST_MS = Date.parse('9999-12-31T23:59:59.999Z');

/** The time that is asked about; by default the last day. Errors: `invalid`. */
export function readWindow(asked: { start?: Date | undefined; end?: Date | undefined }, now: Date): Window {
  const start = asked.start ?? new Date(now.getTime() - DAY_MS);
  const end = asked.end ?? now;
  for (const [field, time] of [
    ['start', start],
    ['end', end],
  ] as const) {
    if (!(time.getTime() >= EARLIEST_MS && time.getTime() <= LATEST_MS)) {
      throw new BerthError('invalid', `${field} is not a time between the years 1 and 9999.`, { field });
    }
  }
  if (end <= start) {
    throw new BerthError(
      'invalid',
      'end must be after start. Without them, start is a day ago and end is now.',
      { field: 'end' },
    );
  }
  return { start, end };
}
