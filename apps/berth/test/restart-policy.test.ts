import { restartAfter } from '../src/up/restart-policy';

test.each([
  [0, 0, 1, 200],
  [1, 0, 2, 400],
  [2, 500, 3, 800],
  [5, 0, 6, 6400],
  [6, 0, 7, 10_000],
  [500, 59_999, 501, 10_000],
  [500, 60_000, 1, 200],
  [0, 3_600_000, 1, 200],
])('%i ends in a row, then %i ms alive: end number %i waits %i ms', (failures, aliveMs, inARow, delayMs) => {
  expect(restartAfter(failures, aliveMs)).toEqual({ failures: inARow, delayMs });
});
