import fc from 'fast-check';
import {
  checkModule,
  completeDefinition,
  isSameDefinition,
  type Definition,
  type GivenDefinition,
} from '../src/domain/definition';
import { checkGpu } from '../src/domain/gpu';
import { isFinal, TRANSITIONS } from '../src/domain/input-state';
import { isTriedAgain } from '../src/domain/outcome';
import { composePayload, type GivenArguments } from '../src/domain/payload';
import { composePhases } from '../src/domain/phases';
import { backoffMs, choosePoolsToYield, decidePool, type PoolFacts } from '../src/domain/pool';
import { explain } from '../src/domain/waiting';

const given = (change: Partial<GivenDefinition> = {}): GivenDefinition => ({
  runtime: 'python',
  handler: 'main:run',
  image: '',
  gpu: [],
  env: {},
  secrets: [],
  volumes: {},
  retry_delay: undefined,
  batching: undefined,
  schedule: undefined,
  web: undefined,
  ...change,
});

describe('definitions', () => {
  test('what is not said has its default', () => {
    expect(completeDefinition(given())).toEqual({
      runtime: 'python',
      handler: 'main:run',
      image: '',
      gpu: [],
      cpu: 1,
      memory: 256,
      timeout: 300,
      startup_timeout: 300,
      retries: 0,
      retry_delay: { first: 1, backoff: 2, max: 60 },
      min_containers: 0,
      max_containers: 10,
      buffer_containers: 0,
      scaledown_window: 60,
      max_concurrent_inputs: 1,
      batching: null,
      env: {},
      secrets: [],
      volumes: {},
      schedule: null,
      web: null,
    });
  });

  test('a definition is the same however its parts are ordered, and another when one differs', () => {
    const volumes = { '/a': 'one', '/b': 'two' };
    const one = completeDefinition(given({ env: { A: '1', B: '2' }, volumes }));
    expect(isSameDefinition(one, completeDefinition(given({ volumes, env: { B: '2', A: '1' } })))).toBe(true);
    expect(isSameDefinition(one, { ...one, retry_delay: { ...one.retry_delay, max: 61 } })).toBe(false);
    expect(isSameDefinition(one, { ...one, gpu: ['H100'] })).toBe(false);
  });

  test.each<[Partial<GivenDefinition>, Partial<Definition>]>([
    [{ timeout: 5 }, { startup_timeout: 60 }],
    [{ timeout: 86_400 }, { startup_timeout: 3600 }],
    [{ schedule: { cron: '0 9 * * 1', timezone: '' } }, { schedule: { cron: '0 9 * * 1', timezone: 'UTC' } }],
    [
      { web: { kind: 'endpoint' } },
      { web: { kind: 'endpoint', method: 'GET', port: 0, requires_proxy_auth: false } },
    ],
    [{ secrets: ['a', 'b', 'a'] }, { secrets: ['a', 'b'] }],
  ])('%j becomes %j', (change, part) => expect(completeDefinition(given(change))).toMatchObject(part));

  test.each<[string, Partial<GivenDefinition>]>([
    ['runtime', { runtime: undefined }],
    ['handler', { handler: 'main' }],
    ['handler', { handler: 'main:' }],
    ['handler', { handler: '../main:run' }],
    ['handler', { handler: 'a:b:c' }],
    ['handler', { handler: `${'x'.repeat(300)}:run` }],
    ['image', { image: 'a b' }],
    ['cpu', { cpu: 0 }],
    ['cpu', { cpu: Number.NaN }],
    ['cpu', { cpu: 257 }],
    ['memory', { memory: 63 }],
    ['timeout', { timeout: 86_401 }],
    ['retries', { retries: -1 }],
    ['retries', { retries: 11 }],
    ['max_containers', { max_containers: 0 }],
    ['min_containers', { min_containers: 3, max_containers: 2 }],
    ['env', { env: { 'A-B': 'x' } }],
    ['env', { env: { BERTH_RUN_TOKEN: 'x' } }],
    ['env', { env: { A: 'a\0b' } }],
    ['env', { env: { A: 'x'.repeat(70_000) } }],
    ['scaledown_window', { scaledown_window: 0 }],
    ['gpu', { gpu: ['RTX-1'] }],
    ['startup_timeout', { startup_timeout: 3601 }],
    ['retry_delay.first', { retry_delay: { first: -1 } }],
    ['retry_delay.backoff', { retry_delay: { backoff: 0.5 } }],
    ['buffer_containers', { buffer_containers: -1 }],
    ['max_concurrent_inputs', { max_concurrent_inputs: 1001 }],
    ['batching.max_batch_size', { batching: { max_batch_size: 1, wait_ms: 0 } }],
    ['batching.wait_ms', { batching: { max_batch_size: 2, wait_ms: 600_001 } }],
    ['secrets', { secrets: ['a b'] }],
    ['volumes', { volumes: { data: 'x' } }],
    ['volumes', { volumes: { '/berth/run': 'x' } }],
    ['volumes', { volumes: { '/a/../b': 'x' } }],
    ['volumes', { volumes: { '/': 'x' } }],
    ['volumes', { volumes: { '/a': 'x', '/a/b': 'y' } }],
    ['volumes', { volumes: { '/a': '' } }],
    ['schedule', { schedule: { cron: '', timezone: '' } }],
    ['schedule', { schedule: { cron: '* * * * *', timezone: '', period: 5 } }],
    ['schedule.period', { schedule: { cron: '', timezone: '', period: 0.5 } }],
    ['web.kind', { web: { method: 'GET' } }],
    ['web.method', { web: { kind: 'endpoint', method: 'FETCH' } }],
    ['web.method', { web: { kind: 'asgi', method: 'GET' } }],
    ['web.port', { web: { kind: 'server' } }],
    ['web.port', { web: { kind: 'wsgi', port: 80 } }],
  ])('%s is refused: %j', (field, change) => {
    expect(() => completeDefinition(given(change))).toThrow(
      expect.objectContaining({ kind: 'invalid', field }),
    );
  });

  test('the value of a variable never stands in an error', () => {
    expect(() => completeDefinition(given({ env: { A: 'hunter2\0' } }))).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
    );
  });

  test.each<[string[], string[]]>([
    [['h100'], ['H100']],
    [['H100:1'], ['H100']],
    [['rtx-4090:2'], ['RTX-4090:2']],
    [['A10G'], ['A10G']],
    [
      ['H100:4', 'any'],
      ['H100:4', 'any'],
    ],
  ])('cards %j are %j', (asked, cards) => expect(checkGpu(asked)).toEqual(cards));

  test.each(['', 'H100:0', 'H100:17', 'H100:x', 'H100:', ':4', 'H100:4:4'])(
    'card %j is refused',
    (request) => {
      expect(() => checkGpu([request])).toThrow(expect.objectContaining({ kind: 'invalid', field: 'gpu' }));
    },
  );

  test.each<['python' | 'node', string, string[], boolean]>([
    ['python', 'main:run', ['main.py'], true],
    ['python', 'pkg.mod:Thing.method', ['pkg/mod.py'], true],
    ['python', 'pkg:run', ['pkg/__init__.py'], true],
    ['python', 'main:run', ['main.ts'], false],
    ['node', 'main:run', ['main.ts'], true],
    ['node', 'src/main:run', ['src/main.mjs'], true],
    ['node', 'src.main:run', ['src/main/index.js'], true],
    ['node', 'main.ts:run', ['main.ts'], true],
    ['node', 'main:run', ['main.py'], false],
  ])('%s %s in %j: %s', (runtime, handler, paths, there) => {
    const check = () => checkModule(completeDefinition(given({ runtime, handler })), paths);
    if (there) check();
    else expect(check).toThrow(expect.objectContaining({ kind: 'invalid', field: 'handler' }));
  });

  test("an image of the user's own may bring the module", () => {
    checkModule(completeDefinition(given({ image: 'mine:1' })), ['other.py']);
  });
});

describe('states', () => {
  test('nothing leaves a final state', () => {
    for (const { from } of Object.values(TRANSITIONS))
      for (const state of from) expect(isFinal(state)).toBe(false);
  });

  test('a failure is tried again as often as was asked', () => {
    expect([1, 2, 3, 4].map((failures) => isTriedAgain(failures, 2))).toEqual([true, true, false, false]);
    expect(isTriedAgain(1, 0)).toBe(false);
  });
});

describe('payloads', () => {
  test('are put together and never parsed', () => {
    const args = Buffer.from('[12345678901234567890123]');
    expect(composePayload({ args }).payload.toString()).toBe(
      '{"args":[12345678901234567890123],"kwargs":{}}',
    );
    expect(composePayload({ kwargs: Buffer.from(' {"a":1}') }).payload.toString()).toBe(
      '{"args":[],"kwargs": {"a":1}}',
    );
  });

  test('name the method of a class', () => {
    expect(composePayload({ method: 'add' }).payload.toString()).toBe(
      '{"args":[],"kwargs":{},"method":"add"}',
    );
  });

  test.each<[string, string | undefined, string | undefined]>([
    ['args', '{"a":1}', undefined],
    ['args', '3', undefined],
    ['kwargs', undefined, '[1]'],
  ])('%s of another kind are refused', (field, args, kwargs) => {
    const bytes = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text));
    expect(() => composePayload({ args: bytes(args), kwargs: bytes(kwargs) })).toThrow(
      expect.objectContaining({ kind: 'invalid', field }),
    );
  });

  test.each<[string, GivenArguments]>([
    ['format', { format: 'json' }],
    ['format', { payload: Buffer.from('x'), format: 'cbor' }],
    ['payload', { payload: Buffer.from('x'), args: Buffer.from('[]') }],
    ['payload', { payload: Buffer.from('[1]') }],
    ['payload', { payload: Buffer.from('{}'), method: 'add' }],
    ['method', { method: '_secret' }],
    ['method', { method: 'a.b' }],
    ['method', { method: 'x'.repeat(200) }],
    ['payload', { payload: Buffer.from('{"args":[1}'), format: 'json' }],
  ])('%s that does not fit the rest is refused', (field, wrong) => {
    expect(() => composePayload(wrong, 'inputs[3].')).toThrow(
      expect.objectContaining({ kind: 'invalid', field: `inputs[3].${field}` }),
    );
  });

  test('as bytes are left as they are', () => {
    const payload = Buffer.from([0x80, 4, 0x4e, 0x2e]);
    expect(composePayload({ payload, format: 'pickle' })).toEqual({ payload, format: 'pickle' });
    const json = Buffer.from(' {"args":[1]}');
    expect(composePayload({ payload: json })).toEqual({ payload: json, format: 'json' });
  });

  test('have a largest size', () => {
    const huge = Buffer.from(`["${'x'.repeat(17 * 1024 * 1024)}"]`);
    expect(() => composePayload({ args: huge })).toThrow(expect.objectContaining({ kind: 'too_large' }));
  });
});

describe('pools', () => {
  const facts = (change: Partial<PoolFacts> = {}): PoolFacts => ({
    open: 0,
    slots: 1,
    minContainers: 0,
    maxContainers: 4,
    bufferContainers: 0,
    scaledownMs: 60_000,
    current: true,
    wish: 0,
    alive: change.wish ?? 0,
    neededAt: 0,
    failures: 0,
    failedAt: 0,
    failedByUser: false,
    yields: false,
    mayGrow: true,
    ...change,
  });
  const NOW = 1_000_000;

  test.each<[string, Partial<PoolFacts>, number]>([
    ['nothing waits', {}, 0],
    ['one waits', { open: 1 }, 1],
    ['more wait than may run', { open: 1000 }, 4],
    ['a container takes several', { open: 7, slots: 4 }, 2],
    ['a buffer, and nothing runs', { bufferContainers: 2 }, 0],
    ['a buffer beside what runs', { open: 1, bufferContainers: 2 }, 3],
    ['a buffer beside what runs in slots', { open: 5, slots: 4, bufferContainers: 1 }, 3],
    ['a buffer and the maximum', { open: 3, bufferContainers: 2 }, 4],
    ['a buffer greater than the minimum', { open: 1, minContainers: 2, bufferContainers: 2 }, 3],
    ['a buffer of a superseded version', { open: 1, bufferContainers: 2, current: false }, 1],
    [
      'a buffer, and others wait',
      { wish: 4, open: 1, bufferContainers: 1, neededAt: NOW - 10, yields: true },
      2,
    ],
    ['a minimum', { minContainers: 2 }, 2],
    ['a minimum of a superseded version', { minContainers: 2, current: false }, 0],
    ['idle within the window', { wish: 3, neededAt: NOW - 59_000 }, 3],
    ['idle for the window', { wish: 3, neededAt: NOW - 60_000 }, 0],
    ['less needed, within the window', { wish: 3, open: 1, neededAt: NOW - 10 }, 3],
    ['less needed, after the window', { wish: 3, open: 1, neededAt: NOW - 60_000 }, 1],
    ['idle, and others wait for its room', { wish: 3, neededAt: NOW - 10, yields: true }, 0],
    ['in use, and others wait for its room', { wish: 3, open: 2, neededAt: NOW - 10, yields: true }, 2],
    ['a minimum, and others wait', { wish: 3, minContainers: 1, neededAt: NOW - 10, yields: true }, 1],
    ['superseded and idle', { wish: 3, current: false, neededAt: NOW }, 0],
    ['superseded and still in use', { wish: 3, open: 2, current: false, neededAt: NOW }, 3],
    ['resting after failures', { open: 2, failures: 3, failedAt: NOW - 3000 }, 0],
    ['resting, and a container is gone', { open: 2, wish: 2, alive: 1, failures: 3, failedAt: NOW - 10 }, 1],
    [
      'what it loads is to blame, and a call asks',
      { open: 1, failures: 9, failedAt: NOW, failedByUser: true },
      1,
    ],
    [
      'what it loads is to blame, for a minimum',
      { minContainers: 1, failures: 9, failedAt: NOW, failedByUser: true },
      0,
    ],
    [
      'what it loads is to blame, and others run',
      { open: 2, wish: 1, failures: 9, failedAt: NOW, failedByUser: true },
      1,
    ],
    ['a container is gone and needed', { open: 2, wish: 2, alive: 1, neededAt: NOW }, 2],
    ['a container is gone and was idle', { wish: 3, alive: 2, neededAt: NOW }, 2],
    ['rested after failures', { open: 2, failures: 3, failedAt: NOW - 4000 }, 2],
    ['without an image', { open: 2, wish: 1, minContainers: 3, mayGrow: false }, 1],
    ['without an image, and idle for the window', { wish: 3, mayGrow: false, neededAt: NOW - 60_000 }, 0],
    ['without an image, and a container is gone', { open: 2, wish: 2, alive: 1, mayGrow: false }, 1],
  ])('%s', (_, change, wish) => expect(decidePool(facts(change), NOW).wish).toBe(wish));

  test.each<[string, Partial<PoolFacts>, boolean]>([
    ['nothing changes', { open: 1, wish: 1 }, false],
    ['more are needed', { open: 2, wish: 1 }, true],
    ['one that is needed is gone: the same number again', { open: 1, wish: 1, alive: 0 }, true],
    ['one that is gone was idle: fewer', { wish: 2, alive: 1, neededAt: NOW }, true],
    ['nobody knows how many there are', { open: 1, wish: 1, alive: undefined }, true],
    ['nobody knows, and it rests', { open: 1, wish: 1, alive: undefined, failures: 1, failedAt: NOW }, false],
  ])('the scheduler hears of it: %s: %s', (_, change, tell) =>
    expect(decidePool(facts(change), NOW).tell).toBe(tell),
  );

  test('the longest unneeded yield first, and no more than is asked for', () => {
    const pool = (name: string, wish: number, needed: number, neededAt: number) => ({
      name,
      wish,
      needed,
      neededAt,
    });
    const pools = [
      pool('young', 2, 0, 30),
      pool('busy', 2, 2, 10),
      pool('old', 2, 1, 20),
      pool('older', 1, 0, 15),
    ];
    const names = (containers: number) => choosePoolsToYield(pools, containers).map(({ name }) => name);
    expect([0, 1, 2, 3, 99].map(names)).toEqual([
      [],
      ['older'],
      ['older', 'old'],
      ['older', 'old', 'young'],
      ['older', 'old', 'young'],
    ]);
  });

  test('rests grow, and have an end', () => {
    expect([0, 1, 2, 3, 50].map(backoffMs)).toEqual([0, 1000, 2000, 4000, 60_000]);
  });

  test('never more than the maximum, never less than what is open needs, and it always comes to rest', () => {
    fc.assert(
      fc.property(
        fc.record({
          open: fc.nat(50),
          wish: fc.nat(20),
          max: fc.integer({ min: 1, max: 20 }),
          min: fc.nat(5),
        }),
        fc.boolean(),
        ({ open, wish, max, min }, current) => {
          const pool = facts({
            open,
            wish: Math.min(wish, max),
            maxContainers: max,
            minContainers: Math.min(min, max),
            current,
            neededAt: NOW,
          });
          const first = decidePool(pool, NOW);
          expect(first.wish).toBeLessThanOrEqual(max);
          expect(first.wish).toBeGreaterThanOrEqual(Math.min(open, max));
          const later = decidePool({ ...pool, ...first }, NOW + 3_600_000);
          const floor = current ? Math.min(min, max) : 0;
          expect(later.wish).toBe(Math.max(floor, Math.min(open, max)));
        },
      ),
    );
  });
});

describe('phases', () => {
  const container = [
    { name: 'placed', startedAt: 110, durationMs: 5 },
    { name: 'create', startedAt: 115, durationMs: 60 },
    { name: 'start', startedAt: 175, durationMs: 100 },
    { name: 'init', startedAt: 275, durationMs: 20 },
  ];
  const names = (phases: { name: string }[]) => phases.map(({ name }) => name);

  test('of a warm call', () => {
    const phases = composePhases({
      acceptedAt: 100,
      startedAt: 102,
      finishedAt: 105,
      recordedAt: 106,
      container: [],
    });
    expect(phases).toEqual([
      { name: 'queued', startedAt: 100, durationMs: 2 },
      { name: 'run', startedAt: 102, durationMs: 3 },
      { name: 'record', startedAt: 105, durationMs: 1 },
    ]);
  });

  test('of a cold call: it is queued until its container begins to be', () => {
    const phases = composePhases({
      acceptedAt: 100,
      startedAt: 296,
      finishedAt: 297,
      recordedAt: 298,
      container,
    });
    expect(names(phases)).toEqual(['queued', 'placed', 'create', 'start', 'init', 'run', 'record']);
    expect(phases[0]).toEqual({ name: 'queued', startedAt: 100, durationMs: 10 });
  });

  test('what was before the call is none of its way', () => {
    const phases = composePhases({
      acceptedAt: 200,
      startedAt: 296,
      finishedAt: 297,
      recordedAt: 298,
      container,
    });
    expect(names(phases)).toEqual(['queued', 'start', 'init', 'run', 'record']);
    expect(phases[1]).toEqual({ name: 'start', startedAt: 200, durationMs: 75 });
  });

  test('clocks that differ make no phase last less than nothing', () => {
    const phases = composePhases({
      acceptedAt: 100,
      startedAt: 90,
      finishedAt: 95,
      recordedAt: 80,
      container: [],
    });
    for (const { durationMs } of phases) expect(durationMs).toBeGreaterThanOrEqual(0);
  });

  test('there are none before it started', () => {
    const times = { acceptedAt: 1, startedAt: undefined, finishedAt: undefined, recordedAt: undefined };
    expect(composePhases({ ...times, container: [] })).toEqual([]);
  });
});

test.each<[string, Parameters<typeof explain>[0], RegExp]>([
  ['no container yet', { ahead: 0, containers: [] }, /being asked for.*next in line/],
  [
    'no card',
    { ahead: 2, containers: [{ stage: 'unplaced', reason: 'No node has a B200.' }] },
    /No node has a B200\. 2 inputs are ahead/,
  ],
  [
    'starting',
    { ahead: 1, containers: [{ stage: 'starting', reason: undefined }] },
    /1 container is starting.*1 input is/,
  ],
  [
    'busy',
    { ahead: 0, containers: [{ stage: 'ready', reason: undefined }] },
    /busy with other inputs; it starts when/,
  ],
  ['no scheduler', { ahead: 0, containers: undefined }, /scheduler does not answer/],
])('waiting explains itself: %s', (_, facts, sentence) => expect(explain(facts)).toMatch(sentence));
