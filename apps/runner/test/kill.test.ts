/** kill -9 of a runner that runs as a process of its own, with a container and an input. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { UsageInterval } from '@berth/contracts/billing/v1/billing';
import { ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import { decodeUsageEvent, USAGE_EVENTS } from '@berth/events';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { runner } from '../src/service';
import { StandInFunctions, StandInScheduler, StandInSync, TestFunction } from './stand-ins';

const root = join(__dirname, '../../..');
let bed: TestBed;
let built: string;
let child: ChildProcess | undefined;

beforeAll(async () => {
  bed = await testBed();
  mkdirSync(join(root, 'dist'), { recursive: true });
  built = mkdtempSync(join(root, 'dist/test-runner-'));
  const { status, stderr } = spawnSync(
    join(root, 'node_modules/.bin/esbuild'),
    [
      join(root, 'apps/runner/src/main.ts'),
      '--bundle',
      '--platform=node',
      '--packages=external',
      `--outfile=${built}/main.js`,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
});
afterAll(async () => {
  child?.kill('SIGKILL');
  await bed?.close();
  rmSync(built, { recursive: true, force: true });
});

test('its next start ends what was left, bills it to its end, and the input runs as a new attempt', async () => {
  const scheduler = new StandInScheduler(bed);
  const functions = new StandInFunctions();
  const sync = new StandInSync();
  for (const { module } of [scheduler, functions, sync]) await bed.start(module);
  const usage: UsageInterval[] = [];
  bed.bus.nats.subscribe(USAGE_EVENTS, {
    callback: (_, message) => void usage.push(decodeUsageEvent(message.data)),
  });

  child = spawn(process.execPath, [join(built, 'main.js')], {
    env: { ...bed.env, BERTH_ENGINE: 'process' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const gone = new Promise((resolve) => child!.once('exit', resolve));
  const source = 'import time\ndef handler(s):\n  time.sleep(s)';
  const made = new TestFunction(bed, sync, source, { timeout: 2 });
  await eventually(() => scheduler.registered.length > 0);
  const { containerId } = await scheduler.assign(made.spec);
  await scheduler.reported(containerId, ContainerState.CONTAINER_STATE_READY);
  const { inputId } = await made.call([60]);
  await eventually(() => functions.started.find((each) => each.inputId === inputId));
  const killedAt = Date.now();
  child.kill('SIGKILL');
  await gone;
  expect(usage).toEqual([]);

  scheduler.assignments = [];
  await bed.start(runner, { BERTH_ENGINE: 'process' });
  const last = await eventually(() => usage.find((each) => each.containerId === containerId));
  expect(last).toMatchObject({ sequence: 0, last: true, nodeId: scheduler.nodeId });
  // The worker ends when its runner is gone; it is billed to then, not to the next start.
  expect(last.startedAt!.getTime()).toBeLessThan(killedAt);
  expect(last.endedAt!.getTime()).toBeGreaterThanOrEqual(last.startedAt!.getTime());
  expect(last.endedAt!.getTime()).toBeLessThan(Date.now());
  await eventually(() => readdirSync(join(bed.dataDir, 'runner/usage')).length === 0);
  expect(scheduler.registered.at(-1)).toMatchObject({ nodeId: scheduler.nodeId });
  expect(scheduler.registered.at(-1)!.incarnation).not.toBe(scheduler.registered[0]!.incarnation);

  await scheduler.assign(made.spec);
  const outcome = await functions.outcomeOf(inputId, 45_000);
  expect(outcome.attempt).toBe(2);
  expect(functions.finished.filter((each) => each.inputId === inputId)).toHaveLength(1);
});
