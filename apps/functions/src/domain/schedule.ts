/** When a function calls itself. All moments are milliseconds since 1970. */
import { Cron } from 'croner';
import { BerthError } from '@berth/service-kit';
import type { Schedule } from './definition';

const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });

/** Errors: `invalid` for a cron or a time zone that there is not, and for a cron that never comes. */
export function checkCron(cron: string, timezone: string): void {
  checkTimezone(timezone);
  if (cron.trim().split(/\s+/).length !== 5) {
    throw refuse('schedule.cron', 'must be five fields (minute hour day month weekday), such as 0 9 * * 1');
  }
  let next: Date | null;
  try {
    next = parse(cron, timezone).nextRun(new Date());
  } catch (error) {
    throw refuse('schedule.cron', `is not one: ${(error as Error).message.replace(/^\w+: |\.$/g, '')}`);
  }
  if (!next) throw refuse('schedule.cron', 'names a day that never comes');
}

function checkTimezone(timezone: string): void {
  try {
    // Offsets such as +01:00 are no time zones: nothing is known of their summers.
    if (/^[+-]/.test(timezone)) throw new RangeError();
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    throw refuse('schedule.timezone', 'must be a name of the tz database, such as Europe/Berlin');
  }
}

/**
 * Croner does as cron does where clocks change: what is due in the hour that is left out comes right after it, and what is
 * due in the hour that comes twice comes once, unless it is due every hour.
 */
const parse = (cron: string, timezone: string) => new Cron(cron, { timezone, mode: '5-part' });

/** The first moment after `after`. A period counts from there. Undefined for a cron that comes no more. */
export function nextMoment(schedule: Schedule, after: number): number | undefined {
  if ('period' in schedule) return after + schedule.period * 1000;
  return parse(schedule.cron, schedule.timezone).nextRun(new Date(after))?.getTime();
}

/** Moments that were missed for less than this are all made up for: a restart of the platform loses none. */
export const MADE_UP_MS = 60_000;

export interface Due {
  /** Each becomes a call, the earliest first. */
  moments: number[];
  /** Undefined: it comes no more. */
  next: number | undefined;
}

/**
 * What is due at `now`, given the first moment that has not been run. Moments that were missed for longer than
 * MADE_UP_MS, because the platform was down, become one call, for the latest of them.
 */
export function dueMoments(schedule: Schedule, first: number, now: number): Due {
  const from = now - MADE_UP_MS;
  const moments: number[] = [];
  let next: number | undefined = first;
  const before = first < from ? latestBefore(schedule, first, from) : undefined;
  if (before !== undefined) next = nextMoment(schedule, before);
  while (next !== undefined && next <= now) {
    moments.push(next);
    next = nextMoment(schedule, next);
  }
  if (moments.length === 0 && before !== undefined) moments.push(before);
  return { moments, next };
}

/** The latest moment before `until`, of which `first` is one. */
function latestBefore(schedule: Schedule, first: number, until: number): number {
  if ('period' in schedule) {
    const periodMs = schedule.period * 1000;
    return first + Math.floor((until - 1 - first) / periodMs) * periodMs;
  }
  const [latest] = parse(schedule.cron, schedule.timezone).previousRuns(1, new Date(until));
  return Math.max(first, latest?.getTime() ?? first);
}
