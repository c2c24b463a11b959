import {
  CONTAINER_STATES,
  isFinal,
  REPORTS,
  TRANSITIONS,
  type ContainerState,
} from '../src/domain/container-state';
import { matches, parseGpu } from '../src/domain/gpu';
import { findOverdue } from '../src/domain/overdue';
import { courseOf } from '../src/domain/phases';
import { createEar } from '../src/domain/silence';
import { checkWish, difference, type Counted } from '../src/domain/wish';

describe('the states of a container', () => {
  const transitions = Object.entries(TRANSITIONS);
  const position = (state: ContainerState) => CONTAINER_STATES.indexOf(state);

  test.each(transitions)('%s leads forward only', (_, { from, to }) => {
    for (const state of from) expect(position(to)).toBeGreaterThan(position(state));
  });

  test('nothing leads out of a final state, and something out of every other', () => {
    for (const state of CONTAINER_STATES) {
      const leaving = transitions.filter(([, { from }]) => (from as readonly string[]).includes(state));
      expect([state, leaving.length > 0]).toEqual([state, !isFinal(state)]);
    }
  });

  test('a runner can place nothing, lose nothing, and end whatever it has', () => {
    expect(Object.keys(REPORTS)).toEqual(['starting', 'ready', 'stopping', 'stopped', 'failed']);
    for (const event of ['end', 'fail'] as const) {
      expect(TRANSITIONS[event].from).toEqual(['assigned', 'starting', 'ready', 'stopping']);
    }
  });
});

describe('the difference that a wish makes', () => {
  const counted = (...states: ContainerState[]): Counted[] =>
    states.map((state, at) => ({ id: `ta-${at}`, state }));

  test.each([
    [0, 3, 3],
    [2, 3, 1],
    [3, 3, 0],
    [4, 3, 0],
    [4, 0, 0],
  ])('of %i for %i, %i are missing', (has, wanted, missing) => {
    const ready = counted(...Array.from({ length: has }, () => 'ready' as const));
    const made = difference(ready, wanted, []);
    expect(made.missing).toBe(missing);
    expect(made.cancel.length + made.stop.length).toBe(Math.max(0, has - wanted));
  });

  test('surplus ends in order: waiting, not yet ready, idle as said, the youngest', () => {
    const all = counted('ready', 'ready', 'ready', 'starting', 'assigned', 'pending');
    const ends = (wanted: number) => {
      const { cancel, stop } = difference(all, wanted, ['ta-unknown', 'ta-1', 'ta-0']);
      return [...cancel, ...stop];
    };
    const order = ['ta-5', 'ta-4', 'ta-3', 'ta-1', 'ta-0', 'ta-2'];
    for (let wanted = 6; wanted >= 0; wanted--) expect(ends(wanted)).toEqual(order.slice(0, 6 - wanted));
  });

  test.each([
    ['owner', { owner: '' }],
    ['owner', { owner: 'a b' }],
    ['owner', { owner: 'x'.repeat(201) }],
    ['owner', { owner: 'a\u0000' }],
    ['containers', { containers: -1 }],
    ['containers', { containers: 1001 }],
    ['revision', { revision: 2n ** 63n }],
  ])('refuses a bad %s: %o', (field, fields) => {
    const wish = { owner: 'fu-1/1', containers: 1, revision: 1n, ...fields };
    expect(() => checkWish(wish)).toThrow(expect.objectContaining({ kind: 'invalid', field }));
  });
});

describe('what is asked of cards', () => {
  test('models and counts, the most wanted first', () => {
    expect(parseGpu(['h100:8', 'A10', 'any', 'any:2'])).toEqual([
      { model: 'H100', count: 8 },
      { model: 'A10', count: 1 },
      { model: 'ANY', count: 1 },
      { model: 'ANY', count: 2 },
    ]);
    expect(matches({ model: 'H100', count: 1 }, 'h100')).toBe(true);
    expect(matches({ model: 'ANY', count: 1 }, 'h100')).toBe(true);
    expect(matches({ model: 'H100', count: 1 }, 'H100-80GB')).toBe(false);
  });

  test.each(['', ':2', 'H100:', 'H100:0', 'H100:-1', 'H100:1.5', 'H100:1000', 'H100:2:2', 'H 100', 'é'])(
    'refuses %j',
    (text) => {
      expect(() => parseGpu([text])).toThrow(expect.objectContaining({ kind: 'invalid', field: 'spec.gpu' }));
    },
  );
});

describe('how a container came to be', () => {
  const at = (ms: number) => new Date(1_000_000 + ms);
  const step = (name: string, ms: number, durationMs: number) => ({ name, startedAt: at(ms), durationMs });
  const course = { created_at: at(0), placed_at: at(5), started_at: at(30) };

  test('begins with what the scheduler knows: queued, and placed until the runner began', () => {
    expect(courseOf(course, [step('image', 12, 3), step('start', 15, 9)])).toEqual([
      step('queued', 0, 5),
      step('placed', 5, 7),
      step('image', 12, 3),
      step('start', 15, 9),
    ]);
    expect(courseOf(course, [])).toEqual([step('queued', 0, 5), step('placed', 5, 25)]);
  });

  test('says nothing of what has not happened, and nothing twice', () => {
    expect(courseOf({ ...course, placed_at: null, started_at: null }, [])).toEqual([]);
    expect(courseOf({ ...course, started_at: null }, [])).toEqual([step('queued', 0, 5)]);
    const given = [step('queued', 0, 1), step('placed', 1, 1)];
    expect(courseOf(course, given)).toEqual(given);
  });

  test('another clock never makes a step negative', () => {
    expect(courseOf(course, [step('image', -50, 3)])[1]).toEqual(step('placed', 5, 0));
  });
});

describe('whether silence can be judged', () => {
  const at = (seconds: number) => new Date(seconds * 1000);
  /** Listens every second from `from` to `to`, and gives what it heard last. */
  const listen = (ear: ReturnType<typeof createEar>, from: number, to: number) => {
    let last = false;
    for (let second = from; second <= to; second++) last = ear.listens(at(second));
    return last;
  };

  test('only after the whole limit', () => {
    const ear = createEar();
    expect(listen(ear, 100, 109)).toBe(false);
    expect(ear.listens(at(110))).toBe(true);
  });

  test('not after a suspension, nor after a time without a database, until the limit has passed again', () => {
    const ear = createEar();
    expect(listen(ear, 100, 120)).toBe(true);
    expect(ear.listens(at(126))).toBe(false);
    expect(listen(ear, 127, 135)).toBe(false);
    expect(ear.listens(at(136))).toBe(true);
    ear.wasDeaf();
    expect(listen(ear, 137, 146)).toBe(false);
    expect(ear.listens(at(147))).toBe(true);
  });
});

test.each<[ContainerState, number, number, string]>([
  ['assigned', 0, 11, 'giveUp'],
  ['starting', 30, 11, 'giveUp'],
  ['starting', 24 * 3600, 10 + 24 * 60, 'giveUp'],
  ['stopping', 0, 15, 'lose'],
  ['stopping', 24 * 3600, 15 + 24 * 60, 'lose'],
])(
  'what is %s, with inputs and a start of %i s, is overdue after %i minutes and no sooner',
  (state, timeout, minutes, event) => {
    const since = new Date(0);
    const one = { id: 'ta-1', state, since, timeout, startup: timeout };
    const at = (ms: number) => findOverdue([one, { ...one, id: 'ta-2' }], new Date(ms));
    expect(at(minutes * 60_000)).toEqual([]);
    expect(at(minutes * 60_000 + 1)).toEqual([
      { event, ids: ['ta-1', 'ta-2'], reason: expect.stringContaining(` ${minutes} minutes `) },
    ]);
  },
);
