import {
  checkIndexes,
  cursorOf,
  isMapFinal,
  mapState,
  openInputsMax,
  readCursor,
  type MapFacts,
} from '../src/domain/map';

const facts = (some: Partial<MapFacts>): MapFacts => ({
  num_inputs: 0,
  num_succeeded: 0,
  num_failed: 0,
  num_terminated: 0,
  closed: false,
  cancelled: false,
  runs: false,
  ...some,
});

test.each<[string, Partial<MapFacts>, string]>([
  ['is open and empty', {}, 'pending'],
  ['is closed and empty', { closed: true }, 'success'],
  ['waits', { num_inputs: 2, closed: true }, 'pending'],
  ['runs one', { num_inputs: 2, runs: true }, 'running'],
  ['has one that ended', { num_inputs: 2, num_succeeded: 1, closed: true }, 'running'],
  ['has ended all but may get more', { num_inputs: 2, num_succeeded: 2 }, 'running'],
  ['has ended all', { num_inputs: 2, num_succeeded: 2, closed: true }, 'success'],
  [
    'has a failure',
    { num_inputs: 3, num_succeeded: 1, num_failed: 1, num_terminated: 1, closed: true },
    'failure',
  ],
  ['lost its app', { num_inputs: 2, num_succeeded: 1, num_terminated: 1, closed: true }, 'terminated'],
  ['was cancelled empty', { closed: true, cancelled: true }, 'terminated'],
  ['is being cancelled', { num_inputs: 2, num_terminated: 1, closed: true, cancelled: true }, 'running'],
  [
    'was cancelled',
    { num_inputs: 2, num_failed: 1, num_terminated: 1, closed: true, cancelled: true },
    'terminated',
  ],
])('a map that %s', (_, some, state) => {
  expect(mapState(facts(some))).toBe(state);
  expect(isMapFinal(facts(some))).toBe(!['pending', 'running'].includes(state));
});

test.each([
  [1, 1, 1000],
  [1000, 1, 2000],
  [1000, 1000, 10_000],
])('%i containers of %i inputs each may have %i open', (containers, inputs, open) => {
  expect(openInputsMax({ max_containers: containers, max_concurrent_inputs: inputs })).toBe(open);
});

test('a cursor is read back in its own order only', () => {
  const output = { entry: 12, index: 7 };
  expect(readCursor('recorded', cursorOf('recorded', output))).toBe(12);
  expect(readCursor('index', cursorOf('index', output))).toBe(7);
  expect([readCursor('recorded', ''), readCursor('index', '')]).toEqual([0, -1]);
  for (const [order, cursor] of [
    ['recorded', 'i7'],
    ['index', 'e7'],
    ['index', 'i-1'],
    ['index', 'i99999999999'],
    ['recorded', 'e9999999999'],
    ['recorded', '7'],
  ] as const)
    expect(() => readCursor(order, cursor)).toThrow(/after/);
});

test('indexes are positive int32 and differ', () => {
  expect(() => checkIndexes([0, 2 ** 31 - 1, 5])).not.toThrow();
  for (const wrong of [[-1], [2 ** 31], [1.5], [3, 3]]) expect(() => checkIndexes(wrong)).toThrow(/inputs\[/);
});
