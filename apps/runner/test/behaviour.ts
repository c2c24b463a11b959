/** What a runner promises, tried on the real thing: real NATS, a real engine, user code that means harm. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Runtime, Verdict } from '@berth/contracts/functions/v1/functions';
import { RunnerServiceService } from '@berth/contracts/runner/v1/runner';
import { openEngine } from '@berth/container-engine';
import { ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import {
  decodeLog,
  decodeUsageEvent,
  inputConsumer,
  inputConsumerName,
  USAGE_EVENTS,
  type LogMessage,
} from '@berth/events';
import type { UsageInterval } from '@berth/contracts/billing/v1/billing';
import type { RunningService } from '@berth/service-kit';
import { ask, eventually, testBed, type TestBed } from '@berth/testing';
import { runner } from '../src/service';
import {
  errorOf,
  resultOf,
  StandInFunctions,
  StandInScheduler,
  StandInSync,
  TestFunction,
} from './stand-ins';

const READY = ContainerState.CONTAINER_STATE_READY;
const STOPPED = ContainerState.CONTAINER_STATE_STOPPED;
const FAILED = ContainerState.CONTAINER_STATE_FAILED;

export function describeRunner(engine: 'process' | 'docker'): void {
  let bed: TestBed;
  let scheduler: StandInScheduler;
  let functions: StandInFunctions;
  let functionsRunning: RunningService;
  let sync: StandInSync;
  let running: RunningService;
  const env = { BERTH_ENGINE: engine, DOCKER_HOST: process.env.DOCKER_HOST, BERTH_SIMULATED_GPUS: 'H100:2' };
  const logs: LogMessage[] = [];
  const usage: UsageInterval[] = [];

  beforeAll(async () => {
    bed = await testBed();
    scheduler = new StandInScheduler(bed);
    functions = new StandInFunctions();
    sync = new StandInSync();
    await bed.start(scheduler.module);
    functionsRunning = await bed.start(functions.module);
    await bed.start(sync.module);
    bed.bus.nats.subscribe('berth.logs.>', {
      callback: (_, message) => void logs.push(decodeLog(message)!),
    });
    bed.bus.nats.subscribe(USAGE_EVENTS, {
      callback: (_, message) => void usage.push(decodeUsageEvent(message.data)),
    });
    running = await bed.start(runner, env);
  });
  afterAll(async () => {
    await running?.[Symbol.asyncDispose]();
    await bed?.close();
  });

  const python = (source: string, spec = {}) => new TestFunction(bed, sync, source, spec);
  const aContainer = async (made: TestFunction, rest = {}) => {
    const { containerId } = await scheduler.assign(made.spec, rest);
    await scheduler.reported(containerId, READY);
    return containerId;
  };
  const end = async (containerId: string) => {
    await scheduler.forget(containerId);
    await scheduler.reported(containerId, STOPPED);
  };
  /** What the engine itself still has of this runner. */
  const containersLeft = async () => {
    const folder = join(bed.dataDir, 'runner');
    const { owner } = JSON.parse(readFileSync(join(folder, 'node.json'), 'utf8')) as { owner: string };
    const dockerHost = process.env.DOCKER_HOST || undefined;
    await using opened = await openEngine(engine, { stateDir: join(folder, 'engine'), owner, dockerHost });
    return await opened.list();
  };
  const lastUsage = (containerId: string) =>
    eventually(() => usage.find((each) => each.containerId === containerId && each.last));

  describe('an input', () => {
    test('runs in a warm container, and the container tells once how it came to be', async () => {
      const made = python('def handler(x):\n  return {"twice": 2 * x}');
      const containerId = await aContainer(made);
      const first = await functions.outcomeOf((await made.call([21])).inputId);
      expect(resultOf(first)).toEqual({ twice: 42 });
      expect(first).toMatchObject({ attempt: 1, containerId });
      expect(first.phases.map(({ name }) => name)).toEqual(['placed', 'image', 'create', 'start', 'init']);
      const second = await functions.outcomeOf((await made.call([4])).inputId);
      expect(resultOf(second)).toEqual({ twice: 8 });
      expect(second.phases).toEqual([]);
      await eventually(async () => (await made.queued()) === 0);

      await end(containerId);
      const { phases } = await scheduler.reported(containerId, READY);
      expect(phases).toHaveLength(5);
      expect(await lastUsage(containerId)).toMatchObject({
        sequence: 0,
        organizationId: 'or-1',
        functionId: made.functionId,
        nodeId: scheduler.nodeId,
        cpu: 1,
        memory: 256,
        gpu: [],
      });
    });

    test('runs in node as well', async () => {
      const made = python('export const handler = async (a, b) => a + b;', { runtime: Runtime.RUNTIME_NODE });
      const containerId = await aContainer(made);
      expect(resultOf(await functions.outcomeOf((await made.call([1, 2])).inputId))).toBe(3);
      await end(containerId);
    });

    test('fails with the exception and the lines of the user', async () => {
      const made = python('def handler():\n  return boom()\ndef boom():\n  raise ValueError("no good")');
      const containerId = await aContainer(made);
      const error = errorOf(await functions.outcomeOf((await made.call()).inputId));
      expect(error).toMatchObject({ type: 'ValueError', message: 'no good' });
      expect(error.traceback).toMatch(/main\.py", line 4, in boom/);
      await end(containerId);
    });

    test('whose result is no JSON fails with what to return instead', async () => {
      const made = python('def handler():\n  return {1, 2}');
      const containerId = await aContainer(made);
      const error = errorOf(await functions.outcomeOf((await made.call()).inputId));
      expect(error.type).toBe('result_invalid');
      expect(error.message).toMatch(/set/);
      await end(containerId);
    });

    test('that ends its process fails, and so does the container', async () => {
      const made = python('import os\ndef handler():\n  os._exit(7)');
      const containerId = await aContainer(made);
      const error = errorOf(await functions.outcomeOf((await made.call()).inputId));
      expect(error).toMatchObject({ type: 'container_exited' });
      expect(error.message).toMatch(/code 7/);
      const report = await scheduler.reported(containerId, FAILED);
      expect(report.error).toMatchObject({ type: 'container_exited' });
      await lastUsage(containerId);
      await scheduler.forget(containerId);
    });

    test('that takes too long is interrupted, and the container goes on', async () => {
      const made = python('import time\ndef handler(s):\n  time.sleep(s)\n  return "done"', { timeout: 1 });
      const containerId = await aContainer(made);
      const error = errorOf(await functions.outcomeOf((await made.call([60])).inputId));
      expect(error).toMatchObject({ type: 'timeout' });
      expect(error.message).toMatch(/1 second/);
      expect(resultOf(await functions.outcomeOf((await made.call([0])).inputId))).toBe('done');
      await end(containerId);
    });

    test('that takes too long and hears nothing loses its container', async () => {
      const made = python('export const handler = () => { for (;;); };', {
        runtime: Runtime.RUNTIME_NODE,
        timeout: 1,
      });
      const containerId = await aContainer(made);
      const error = errorOf(await functions.outcomeOf((await made.call()).inputId));
      expect(error).toMatchObject({ type: 'timeout' });
      await scheduler.reported(containerId, STOPPED);
      await scheduler.forget(containerId);
    });

    test('that was cancelled is interrupted', async () => {
      const made = python('import time\ndef handler():\n  print("begun")\n  time.sleep(60)');
      const containerId = await aContainer(made);
      const { inputId } = await made.call();
      await eventually(() => functions.started.find((each) => each.inputId === inputId));
      functions.cancel(inputId);
      expect(errorOf(await functions.outcomeOf(inputId))).toMatchObject({ type: 'cancelled' });
      await end(containerId);
    });

    test('whose payload is too large for the queue is asked for', async () => {
      const made = python('def handler(text):\n  return len(text)');
      const containerId = await aContainer(made);
      const inputId = `in-large-${Date.now()}`;
      functions.payloads.set(inputId, Buffer.from(JSON.stringify({ args: ['x'.repeat(2_000_000)] })));
      await made.call([], { inputId, payload: undefined });
      expect(resultOf(await functions.outcomeOf(inputId))).toBe(2_000_000);
      await end(containerId);
    });

    test('needs more memory than it has', async () => {
      const made = python('def handler():\n  return len(bytearray(800_000_000))', { memory: 128 });
      const containerId = await aContainer(made);
      const error = errorOf(await functions.outcomeOf((await made.call()).inputId));
      // Without isolation the allocation itself fails, and the process goes on.
      if (engine === 'docker') expect(error).toMatchObject({ type: 'out_of_memory' });
      else expect(error).toMatchObject({ type: 'MemoryError' });
      if (engine === 'docker') expect(error.message).toMatch(/128 MiB/);
      await scheduler.forget(containerId);
      await lastUsage(containerId);
    });
  });

  describe('what cannot start', () => {
    test.each([
      ['a syntax error', 'def handler(:\n  pass', /SyntaxError/],
      ['no such handler', 'def other():\n  pass', /HandlerNotFound.*main:handler/s],
      ['an import that fails', 'import nowhere\ndef handler():\n  pass', /ModuleNotFoundError.*nowhere/s],
    ])('%s is the message of the failed container', async (_, source, message) => {
      const made = python(source);
      const { containerId } = await scheduler.assign(made.spec);
      const { error } = await scheduler.reported(containerId, FAILED);
      expect(error).toMatchObject({ type: 'init_failed' });
      expect(error!.message).toMatch(message);
      await lastUsage(containerId);
      await scheduler.forget(containerId);
    });

    test('an image that is nowhere is named', async () => {
      const made = python('def handler():\n  pass', { image: 'localhost:1/nobody/nothing:1' });
      const { containerId } = await scheduler.assign(made.spec);
      const { error } = await scheduler.reported(containerId, FAILED);
      expect(error).toMatchObject({ type: 'init_failed' });
      expect(error!.message).toMatch(/nobody\/nothing/);
      await scheduler.forget(containerId);
    });

    test('a process that ends while it loads says how', async () => {
      const made = python('import os\nos._exit(9)');
      const { containerId } = await scheduler.assign(made.spec);
      const { error } = await scheduler.reported(containerId, FAILED);
      expect(error).toMatchObject({ type: 'container_exited' });
      await scheduler.forget(containerId);
    });
  });

  describe('a container', () => {
    test('sees its variables and its simulated card, and no credential', async () => {
      const source = 'import os\ndef handler():\n  return dict(os.environ)';
      const made = python(source, { env: { COLOUR: 'blue' } });
      const [card] = scheduler.registered[0]!.devices;
      expect(card).toMatchObject({ model: 'H100', simulated: true });
      const containerId = await aContainer(made, { devices: [card] });
      const seen = resultOf(await functions.outcomeOf((await made.call()).inputId)) as Record<string, string>;
      expect(seen).toMatchObject({ COLOUR: 'blue', BERTH_SIMULATED_GPU: String(card!.index) });
      expect(seen.BERTH_RUN_TOKEN).toBeUndefined();
      expect(Object.keys(seen).filter((name) => /KEY|NATS|POSTGRES|SECRET/.test(name))).toEqual([]);
      await end(containerId);
      expect((await lastUsage(containerId)).gpu).toEqual(['H100-simulated']);
    });

    test('that drains finishes what runs, takes no more, and stops', async () => {
      const made = python('import time\ndef handler(s):\n  time.sleep(s)\n  return s');
      const containerId = await aContainer(made);
      const begun = await made.call([1.5]);
      await eventually(() => functions.started.find(({ inputId }) => inputId === begun.inputId));
      await scheduler.stop(containerId);
      const late = await made.call([0]);
      expect(resultOf(await functions.outcomeOf(begun.inputId))).toBe(1.5);
      await scheduler.reported(containerId, STOPPED);
      expect(functions.finished.some(({ inputId }) => inputId === late.inputId)).toBe(false);
      await scheduler.forget(containerId);

      // What it left in the queue runs in the next one.
      const next = await aContainer(made);
      expect(resultOf(await functions.outcomeOf(late.inputId))).toBe(0);
      await end(next);
    });

    test('on no list any more ends at once, and its input runs elsewhere as a new attempt', async () => {
      const made = python('import time\ndef handler(s):\n  time.sleep(s)\n  return s');
      const containerId = await aContainer(made);
      const { inputId } = await made.call([2]);
      await eventually(() => functions.started.find((each) => each.inputId === inputId));
      await end(containerId);
      expect(functions.finished.some((each) => each.inputId === inputId)).toBe(false);
      const next = await aContainer(made);
      expect(await functions.outcomeOf(inputId)).toMatchObject({ attempt: 2, containerId: next });
      await end(next);
    });

    test('runs as many inputs at a time as it has slots, and takes no more', async () => {
      const source = 'import time\ndef handler():\n  time.sleep(0.3)';
      const made = python(source, { slots: 1 });
      const containerId = await aContainer(made);
      const inputs = await Promise.all(Array.from({ length: 3 }, () => made.call()));
      await eventually(() => functions.started.find((each) => each.containerId === containerId));
      const { num_ack_pending } = await bed.bus.manager.consumers.info(
        'BERTH_INPUTS',
        inputConsumerName(made.functionId, 1),
      );
      expect(num_ack_pending).toBe(1);
      for (const { inputId } of inputs) await functions.outcomeOf(inputId);
      await end(containerId);
    });

    test('shares one fetch of its source with others', async () => {
      const made = python('def handler():\n  return 1');
      const before = sync.fetches;
      const ids = await Promise.all([aContainer(made), aContainer(made)]);
      expect(sync.fetches).toBe(before + 1);
      for (const id of ids) await end(id);
    });
  });

  test('what user code prints arrives with its call, line by line, and native output without one', async () => {
    const source =
      'import os, sys\ndef handler():\n  print("one\\ntwo")\n  print("three", file=sys.stderr)\n  os.write(1, b"raw\\n")';
    const made = python(source);
    const containerId = await aContainer(made);
    const { callId, inputId } = await made.call();
    await functions.outcomeOf(inputId);
    await end(containerId);
    const printed = await eventually(() => {
      const mine = logs.filter((line) => line.containerId === containerId);
      return mine.length >= 4 && mine;
    });
    expect(printed.filter((line) => line.callId === callId)).toMatchObject([
      { stream: 'stdout', text: 'one', workspaceId: 'wo-1', appId: 'ap-1', functionId: made.functionId },
      { stream: 'stdout', text: 'two' },
      { stream: 'stderr', text: 'three' },
    ]);
    expect(printed.filter((line) => line.callId === '')).toMatchObject([{ stream: 'stdout', text: 'raw' }]);
  });

  describe('when things break', () => {
    test('a redelivered input asks first; a stale one runs nothing and leaves the queue', async () => {
      const made = python('def handler():\n  print("ran")\n  return 1');
      const input = await made.call();
      await deliverOnce(made);
      const accept = functions.verdictOf;
      functions.verdictOf = () => ({ verdict: Verdict.VERDICT_STALE, attempt: 0 });
      const containerId = await aContainer(made);
      await eventually(async () => (await made.queued()) === 0);
      functions.verdictOf = accept;
      expect(functions.started.filter(({ inputId }) => inputId === input.inputId)).toMatchObject([
        { redelivered: true, attempt: 1 },
      ]);
      await end(containerId);
      expect(functions.finished.some(({ inputId }) => inputId === input.inputId)).toBe(false);
      expect(logs.some((line) => line.containerId === containerId)).toBe(false);
    });

    test('an input that began and is not wanted any more is interrupted', async () => {
      const made = python('import time\ndef handler():\n  time.sleep(60)');
      const containerId = await aContainer(made);
      functions.wantsStarts = false;
      const { inputId } = await made.call();
      expect(errorOf(await functions.outcomeOf(inputId))).toMatchObject({ type: 'cancelled' });
      functions.wantsStarts = true;
      await end(containerId);
    });

    test('what is in the queue and is no input is dropped', async () => {
      const made = python('def handler():\n  return 1');
      const containerId = await aContainer(made);
      await bed.bus.jetstream.publish(`berth.inputs.${made.functionId}.1.in-forged`, Buffer.from('{}'));
      const { inputId } = await made.call();
      expect(resultOf(await functions.outcomeOf(inputId))).toBe(1);
      await eventually(async () => (await made.queued()) === 0);
      await end(containerId);
    });

    test('an outcome without a verdict is told again on the next line, and settles then', async () => {
      const made = python('def handler(x):\n  return x');
      const containerId = await aContainer(made);
      functions.answers = false;
      const { inputId } = await made.call([5]);
      await functions.outcomeOf(inputId);
      expect(await made.queued()).toBe(1);
      functions.answers = true;
      const lines = functions.lines;
      functions.breakLines();
      await eventually(() => functions.lines > lines);
      await eventually(async () => (await made.queued()) === 0);
      const told = functions.finished.filter((each) => each.inputId === inputId);
      expect(told).toHaveLength(2);
      expect(told[1]).toEqual(told[0]);
      await end(containerId);
    });

    test('functions goes away with an input running, and hears its outcome when it is back', async () => {
      const made = python('import time\ndef handler():\n  time.sleep(1)\n  return "late"');
      const containerId = await aContainer(made);
      const { inputId } = await made.call();
      await eventually(() => functions.started.find((each) => each.inputId === inputId));
      await functionsRunning[Symbol.asyncDispose]();
      functionsRunning = await bed.start(functions.module);
      expect(resultOf(await functions.outcomeOf(inputId))).toBe('late');
      await eventually(async () => (await made.queued()) === 0);
      await end(containerId);
    });

    test('NATS dies and comes back: no input is lost, running or waiting', async () => {
      const made = python('import time\ndef handler(s):\n  time.sleep(s)\n  return s');
      const containerId = await aContainer(made);
      const inputs = [await made.call([1]), await made.call([0]), await made.call([0.1])];
      await eventually(() => functions.started.find(({ inputId }) => inputId === inputs[0]!.inputId));
      await bed.nats.restart();
      for (const { inputId } of inputs) await functions.outcomeOf(inputId, 45_000);
      const after = await eventually(() => made.call([0.2]));
      expect(resultOf(await functions.outcomeOf(after.inputId))).toBe(0.2);
      await eventually(async () => (await made.queued()) === 0, 30_000);
      await end(containerId);
    });

    test('a consumer that was deleted is made again', async () => {
      const made = python('def handler():\n  return 1');
      const containerId = await aContainer(made);
      await eventually(() =>
        bed.bus.manager.consumers.delete('BERTH_INPUTS', inputConsumerName(made.functionId, 1)),
      );
      const { inputId } = await made.call();
      expect(resultOf(await functions.outcomeOf(inputId))).toBe(1);
      await end(containerId);
    });

    test('a scheduler that forgot the node gets it registered again', async () => {
      const before = scheduler.registered.length;
      scheduler.forgets = true;
      await eventually(() => scheduler.registered.length > before);
      const [first] = scheduler.registered;
      expect(scheduler.registered.at(-1)).toMatchObject({
        nodeId: scheduler.nodeId,
        incarnation: first!.incarnation,
      });
    });

    test('a program that prints faster than anybody reads is not waited for, and nothing is lost unsaid', async () => {
      const made = python('def handler():\n  for n in range(50_000):\n    print("line", n)\n  return "done"');
      const containerId = await aContainer(made);
      const before = process.memoryUsage().rss;
      expect(resultOf(await functions.outcomeOf((await made.call()).inputId))).toBe('done');
      await end(containerId);
      const mine = logs.filter((line) => line.containerId === containerId);
      const dropped = mine
        .flatMap(({ text }) => /^… (\d+) lines were dropped/.exec(text)?.[1] ?? [])
        .reduce((sum, count) => sum + Number(count), 0);
      const notes = mine.filter(({ text }) => text.startsWith('…')).length;
      expect(mine.length - notes + dropped).toBe(50_000);
      expect(process.memoryUsage().rss - before).toBeLessThan(600 * 1024 * 1024); // This test keeps them all.
    });

    /** Somebody else took the input, and went silent. */
    async function deliverOnce(made: TestFunction): Promise<void> {
      await bed.bus.manager.consumers.add('BERTH_INPUTS', inputConsumer(made.functionId, 1));
      const consumer = await bed.bus.jetstream.consumers.get(
        'BERTH_INPUTS',
        inputConsumerName(made.functionId, 1),
      );
      const message = await consumer.next();
      message!.nak();
    }
  });

  test('no RPC answers who has no token, or may not ask', async () => {
    const outsider = bed.connect(RunnerServiceService, 'runner', 'gateway');
    const insider = bed.connect(RunnerServiceService, 'runner', 'scheduler');
    for (const rpc of Object.keys(RunnerServiceService) as (keyof typeof RunnerServiceService)[]) {
      await expect(ask(RunnerServiceService, outsider, rpc)).rejects.toMatchObject({ kind: 'denied' });
      await expect(
        ask(RunnerServiceService, insider, rpc, {}, { ...(await bed.caller()), token: '' }),
      ).rejects.toMatchObject({ kind: 'unauthenticated' });
    }
  });

  test('says what it runs, and a stop leaves nothing running and no second unpaid', async () => {
    const made = python('import time\ndef handler():\n  time.sleep(60)');
    const containerId = await aContainer(made);
    const { inputId } = await made.call();
    await eventually(() => functions.started.find((each) => each.inputId === inputId));
    const insider = bed.connect(RunnerServiceService, 'runner', 'scheduler');
    expect(await insider.getRunner({})).toMatchObject({
      nodeId: scheduler.nodeId,
      engine,
      isolated: engine === 'docker',
      containers: [{ containerId, functionId: made.functionId, inputsRunning: 1, ready: true }],
    });

    await running[Symbol.asyncDispose]();
    await scheduler.reported(containerId, STOPPED);
    expect(await lastUsage(containerId)).toMatchObject({ last: true });
    expect(functions.finished.some((each) => each.inputId === inputId)).toBe(false);
    expect(readdirSync(join(bed.dataDir, 'runner', 'usage'))).toEqual([]);
    expect(readdirSync(join(bed.dataDir, 'runner', 'run'))).toEqual([]);
    expect(await containersLeft()).toEqual([]);

    // The next start takes the input up again: nothing that was accepted is lost.
    scheduler.assignments = [];
    running = await bed.start(runner, env);
    expect(scheduler.registered.at(-1)!.incarnation).not.toBe(scheduler.registered[0]!.incarnation);
    await scheduler.assign({ ...made.spec, timeout: 1 });
    expect(await functions.outcomeOf(inputId)).toMatchObject({ attempt: 2 });
  });
}
