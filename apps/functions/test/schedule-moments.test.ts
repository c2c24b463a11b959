/** When schedules are due: pure, with changes of clocks. */
import { MADE_UP_MS, checkCron, dueMoments, nextMoment } from '../src/domain/schedule';

const at = (text: string) => Date.parse(text);
const berlin = (cron: string) => ({ cron, timezone: 'Europe/Berlin' });
const following = (schedule: Parameters<typeof nextMoment>[0], from: string, count: number) => {
  const found: string[] = [];
  let moment: number | undefined = at(from);
  while (found.length < count && moment !== undefined) {
    moment = nextMoment(schedule, moment);
    if (moment !== undefined) found.push(new Date(moment).toISOString().slice(0, 16));
  }
  return found;
};

test.each([
  ['0 9 * * 1-5', 'UTC', '2026-11-27T10:00:00Z', ['2026-11-30T09:00', '2026-12-01T09:00']],
  ['*/15 * * * *', 'UTC', '2026-11-27T10:00:00Z', ['2026-11-27T10:15', '2026-11-27T10:30']],
  ['0 0 29 2 *', 'UTC', '2026-11-27T10:00:00Z', ['2028-02-29T00:00', '2032-02-29T00:00']],
  // A day of the month or a day of the week, as cron has it.
  ['0 0 13 * 5', 'UTC', '2026-11-01T00:00:00Z', ['2026-11-06T00:00', '2026-11-13T00:00']],
  // 9:00 in Berlin is an hour earlier in UTC in summer.
  ['0 9 * * *', 'Europe/Berlin', '2026-10-23T12:00:00Z', ['2026-10-24T07:00', '2026-10-25T08:00']],
  ['0 9 * * *', 'America/New_York', '2026-03-06T20:00:00Z', ['2026-03-07T14:00', '2026-03-08T13:00']],
])('%s in %s', (cron, timezone, from, expected) =>
  expect(following({ cron, timezone }, from, expected.length)).toEqual(expected),
);

test('what is due in the hour that summer time leaves out comes right after it, once', () => {
  expect(following(berlin('30 2 * * *'), '2026-03-28T12:00:00Z', 2)).toEqual([
    '2026-03-29T01:00',
    '2026-03-30T00:30',
  ]);
});

test('what is due in the hour that comes twice comes once; what is due every half hour, in both', () => {
  expect(following(berlin('30 2 * * *'), '2026-10-24T12:00:00Z', 2)).toEqual([
    '2026-10-25T00:30',
    '2026-10-26T01:30',
  ]);
  expect(following(berlin('30 2 * * *'), '2026-10-25T00:45:00Z', 1)).toEqual(['2026-10-26T01:30']);
  expect(following(berlin('*/30 * * * *'), '2026-10-24T23:45:00Z', 5)).toEqual([
    '2026-10-25T00:00',
    '2026-10-25T00:30',
    '2026-10-25T01:00',
    '2026-10-25T01:30',
    '2026-10-25T02:00',
  ]);
});

describe('what is due', () => {
  const now = at('2026-11-25T12:00:00Z');
  const second = { period: 1 };

  test('in time: one moment, and the period goes on from it and not from when it was seen', () => {
    expect(dueMoments(second, now - 300, now)).toEqual({ moments: [now - 300], next: now + 700 });
    expect(dueMoments(second, now + 1, now)).toEqual({ moments: [], next: now + 1 });
    expect(dueMoments(second, now, now)).toEqual({ moments: [now], next: now + 1000 });
  });

  test('after a short break: all moments, in order', () => {
    const { moments, next } = dueMoments(second, now - 10_000, now);
    expect(moments).toEqual(Array.from({ length: 11 }, (_, n) => now - 10_000 + n * 1000));
    expect(next).toBe(now + 1000);
  });

  test('after a long break: those of the last minute', () => {
    const { moments, next } = dueMoments(second, now - 86_400_000 - 500, now);
    expect(moments[0]).toBe(now - MADE_UP_MS + 500);
    expect(moments).toHaveLength(60);
    expect(next).toBe(now + 500);
  });

  test('after a long break, of rare moments: the latest one, once', () => {
    const hourly = { period: 3600 };
    expect(dueMoments(hourly, now - 7 * 3_600_000 - 600_000, now)).toEqual({
      moments: [now - 600_000],
      next: now + 3_000_000,
    });
    const daily = berlin('30 2 * * *');
    expect(dueMoments(daily, at('2026-11-20T01:30:00Z'), now)).toEqual({
      moments: [at('2026-11-25T01:30:00Z')],
      next: at('2026-11-26T01:30:00Z'),
    });
    expect(dueMoments(daily, at('2026-11-25T01:30:00Z'), now)).toEqual({
      moments: [at('2026-11-25T01:30:00Z')],
      next: at('2026-11-26T01:30:00Z'),
    });
  });

  test('never the same moment twice, whatever the breaks', () => {
    for (const schedule of [second, { period: 7.5 }, { period: 61 }, berlin('*/2 * * * *')]) {
      const seen: number[] = [];
      let next: number | undefined = now;
      let clock = now;
      for (const pause of [10, 1500, 59_000, 61_000, 119_999, 3_600_000, 1, 500]) {
        clock += pause;
        const due = dueMoments(schedule, next!, clock);
        seen.push(...due.moments);
        next = due.next;
        expect(next).toBeGreaterThan(clock);
      }
      expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
      expect(seen.length).toBeGreaterThan(1);
    }
  });
});

test.each([
  ['* * * *', 'UTC', 'schedule.cron'],
  ['0 0 9 * * *', 'UTC', 'schedule.cron'],
  ['61 * * * *', 'UTC', 'schedule.cron'],
  ['0 0 31 2 *', 'UTC', 'schedule.cron'],
  ['2026-12-01T00:00:00', 'UTC', 'schedule.cron'],
  ['a b c d e', 'UTC', 'schedule.cron'],
  ['0 9 * * *', 'Mars/Olympus', 'schedule.timezone'],
  ['0 9 * * *', '+01:00', 'schedule.timezone'],
])('%s in %s is refused', (cron, timezone, field) =>
  expect(() => checkCron(cron, timezone)).toThrow(expect.objectContaining({ kind: 'invalid', field })),
);
