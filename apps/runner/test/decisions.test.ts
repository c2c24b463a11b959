import { difference } from '../src/domain/assignments';
import {
  errorOfContainer,
  errorOfEngine,
  errorOfImage,
  outcomeLost,
  outcomeSaid,
} from '../src/domain/ending';
import { linesOf } from '../src/domain/log-lines';
import { isPathInside } from '../src/domain/tree-path';
import { readRunnerConfig } from '../src/config';

const limits = { timeoutSeconds: 3, memoryMib: 128 };
const exit = { exitCode: 137, signal: 'SIGKILL', outOfMemory: false };
const success = { kind: 'success' as const, payload: Buffer.from('1'), format: 'json' };
const raised = (type: string) => ({
  kind: 'failure' as const,
  error: { type, message: 'm', traceback: 't' },
});

describe('what an input ends as', () => {
  test.each([
    ['a result', success, undefined, success],
    ['a result that came after its time', success, 'timeout', { error: { type: 'timeout' } }],
    ['an exception', raised('ValueError'), undefined, { error: { type: 'ValueError', traceback: 't' } }],
    ['no JSON', raised('ResultNotSerializable'), undefined, { error: { type: 'result_invalid' } }],
    ['too large a result', raised('ResultTooLarge'), undefined, { error: { type: 'result_invalid' } }],
    ['an interruption', raised('InputCancellation'), 'timeout', { error: { type: 'timeout' } }],
    ['a cancellation', raised('InputCancellation'), 'cancelled', { error: { type: 'cancelled' } }],
    [
      'an interruption nobody asked for',
      raised('InputCancellation'),
      undefined,
      { error: { type: 'InputCancellation' } },
    ],
  ] as const)('%s', (_, said, asked, outcome) => {
    expect(outcomeSaid(said, asked, limits)).toMatchObject(outcome);
  });

  test.each([
    ['memory', { exit: { ...exit, outOfMemory: true }, killed: undefined }, undefined, 'out_of_memory'],
    [
      'an exit',
      { exit: { exitCode: 3, outOfMemory: false }, killed: undefined },
      undefined,
      'container_exited',
    ],
    ['a signal', { exit, killed: undefined }, undefined, 'container_exited'],
    ['its own timeout', { exit, killed: 'overran' }, 'timeout', 'timeout'],
    ['a forged frame', { exit, killed: 'protocol' }, undefined, 'container_exited'],
    ['a neighbour that overran', { exit, killed: 'overran' }, undefined, undefined],
    ['the runner, which stops', { exit, killed: 'leaving' }, undefined, undefined],
    ['a freeze', { exit, killed: 'frozen' }, undefined, undefined],
    ['a list without it', { exit, killed: 'unwanted' }, undefined, undefined],
  ] as const)('lost by %s', (_, ending, asked, type) => {
    const outcome = outcomeLost(ending, { asked, attempt: 1, inCompany: false }, limits);
    expect(outcome?.kind === 'failure' ? outcome.error.type : outcome).toBe(type);
  });

  test.each([
    ['alone, it answers for the end', 1, false, 'container_exited'],
    ['in company, it goes free', 1, true, undefined],
    ['in company again, too', 2, true, undefined],
    ['in company where it was to run alone, too', 3, true, undefined],
    ['in company each time, it answers', 10, true, 'container_exited'],
  ])('lost with a container that died: %s', (_, attempt, inCompany, type) => {
    const ending = { exit: { exitCode: 3, outOfMemory: false }, killed: undefined };
    const outcome = outcomeLost(ending, { asked: undefined, attempt, inCompany }, limits);
    expect(outcome?.kind === 'failure' ? outcome.error.type : outcome).toBe(type);
  });
});

test('what freezes its container for the third time, alone, answers for it', () => {
  const frozen = {
    exit: { exitCode: 137, signal: 'SIGKILL', outOfMemory: false },
    killed: 'frozen',
  } as const;
  const lost = (attempt: number, inCompany: boolean) =>
    outcomeLost(frozen, { asked: undefined, attempt, inCompany }, limits);
  expect(lost(2, false)).toBeUndefined();
  expect(lost(3, true)).toBeUndefined();
  expect(lost(3, false)).toMatchObject({ error: { type: 'container_exited' } });
});

test.each([
  ['left by itself with nothing to do', { exitCode: 0 }, {}, undefined],
  ['left by itself in the middle of an input', { exitCode: 0 }, { hadInputs: true }, 'container_exited'],
  ['failed', { exitCode: 1 }, {}, 'container_exited'],
  ['failed while it drained', { exitCode: 1 }, { drained: true }, undefined],
  ['killed by its runner', { exitCode: 137 }, { killed: 'leaving' }, undefined],
  ['killed by its memory', { exitCode: 137, outOfMemory: true }, {}, 'out_of_memory'],
] as const)('a container that %s', (_, ended, how, type) => {
  const facts = { killed: undefined, drained: false, hadInputs: false, limits, ...how };
  expect(errorOfContainer({ outOfMemory: false, ...ended }, facts)?.type).toBe(type);
});

test('what the user can change is told as theirs', () => {
  const asked = { image: 'alpine:3', program: 'python3' };
  const missing = errorOfEngine(
    { kind: 'invalid', message: 'exec: "python3": executable file not found' },
    asked,
  );
  expect(missing).toMatchObject({
    type: 'init_failed',
    message: expect.stringMatching(/alpine:3 has no python3/),
  });
  expect(errorOfEngine({ kind: 'invalid', field: 'env.X', message: 'm' }, asked).type).toBe('init_failed');
  expect(errorOfEngine({ kind: 'unavailable', message: 'm' }, asked).type).toBe('infrastructure');
  expect(errorOfImage('me/mine:1', 'no such')).toMatchObject({ type: 'init_failed' });
  expect(errorOfImage('berth/base:stable', 'no such')).toMatchObject({ type: 'infrastructure' });
});

test('the difference between a list and what runs, each container once', () => {
  const wanted = [
    { containerId: 'new', stop: false },
    { containerId: 'runs', stop: false },
    { containerId: 'drains', stop: true },
    { containerId: 'ended', stop: false },
    { containerId: 'stop-at-once', stop: true },
  ];
  const alive = new Set(['runs', 'drains', 'unlisted']);
  const todo = difference(wanted, alive, new Set(['ended', 'long-ended']));
  expect(todo.start.map(({ containerId }) => containerId)).toEqual(['new', 'stop-at-once']);
  expect(todo).toMatchObject({ drain: ['drains'], end: ['unlisted'], forget: ['long-ended'] });
});

test.each([
  ['a\nb\n', ['a', 'b']],
  ['a\n\nb', ['a', '', 'b']],
  ['\n', ['']],
  ['', []],
  ['ü…\n', ['ü…']],
])('the lines of %j', (text, lines) => {
  expect(linesOf(Buffer.from(text))).toEqual(lines);
});

test.each([
  ['main.py', true],
  ['a/b/c.txt', true],
  ['..a/b', true],
  ['../a', false],
  ['a/../b', false],
  ['/a', false],
  ['a//b', false],
  ['./a', false],
  ['', false],
  ['a\0', false],
])('%j stays inside: %s', (path, inside) => {
  expect(isPathInside(path)).toBe(inside);
});

test('every problem of a configuration is told at once', () => {
  const env = { BERTH_ENGINE: 'lxc', BERTH_SIMULATED_GPUS: 'H100:many', BERTH_NODE_CPUS: 'all' };
  const read = () => readRunnerConfig(env, '.berth');
  for (const name of [...Object.keys(env), 'BERTH_NATS_URL']) expect(read).toThrow(name);
});
