/** The disk of the runner is full: what needs it says so, what was accepted ends when there is room again, and is billed once. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Berth, FunctionCall } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(240_000);

const SIZE = '24m';
/** What the engine's clock and this one's may differ by, and what a report takes. */
const CLOCKS_MS = 5_000;
const mount = (folder: string) => spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', folder]);
const unmount = (folder: string) => spawnSync('umount', ['-l', folder]);

/** Only the superuser can mount, and not in every container. */
const mayMount = (() => {
  const probe = mkdtempSync(join(tmpdir(), 'berth-mount-'));
  const { status } = mount(probe);
  if (status === 0) unmount(probe);
  rmSync(probe, { recursive: true, force: true });
  return status === 0;
})();

let platform: Platform;
let berth: Berth;
let appId: string;
let disk: string;
beforeAll(async () => {
  if (!mayMount) return;
  platform = new Platform();
  disk = join(platform.dataDir, 'runner');
  mkdirSync(disk);
  expect(mount(disk).status).toBe(0);
  await platform.start('--separate');
  berth = platform.berth();
  appId = (await berth.apps.create('full-disk')).app_id;
});
afterAll(async () => {
  if (disk) unmount(disk);
  await platform?.close();
});

const filler = () => join(disk, 'filler');
const fill = () => {
  for (let size = 1024 * 1024; size >= 1; size = Math.floor(size / 4)) {
    try {
      for (;;) writeFileSync(filler(), Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
  }
};
const free = () => rmSync(filler());

const SOURCE = `
import os
def run(what):
    if what == "exit": os._exit(3)
    return what`;
const make = async (): Promise<string> =>
  (await makeFunction(berth, appId, python(SOURCE, { max_containers: 1, scaledown_window: 60 }))).function_id;
const ended = ({ call_id }: FunctionCall) =>
  eventually(async () => {
    const call = await berth.calls.get(call_id);
    return call.status !== 'pending' && call.status !== 'running' && call;
  }, 90_000);
interface Interval {
  sequence: number;
  started_at: string;
  ended_at: string;
  last: boolean;
}
const usageOf = async (container_id: string) => {
  const { data } = await berth.http.json<{ data: Interval[] }>('GET', '/v1/usage', {
    query: { container_id },
  });
  return data;
};

(mayMount ? test : test.skip)('a full disk', async () => {
  const warm = await make();
  const first = await berth.functions.invoke(warm, { args: ['first'] });
  expect(first.result).toBe('first');

  fill();
  const cold = await make();
  const refused = await berth.functions.spawn(cold, { args: ['refused'] });
  // What is there goes on, for it needs no disk.
  expect(await berth.functions.invoke(warm, { args: ['on'] })).toMatchObject({
    result: 'on',
    container_id: first.container_id,
  });
  // Its end cannot be written yet.
  const before = Date.now();
  const died = await berth.functions.spawn(warm, { args: ['exit'] });
  expect(await ended(died)).toMatchObject({ status: 'failure', error: { type: 'container_exited' } });
  const after = Date.now();
  const said = await ended(refused);
  expect(said).toMatchObject({ status: 'failure', error: { type: 'infrastructure' } });
  expect(said.error!.message).toMatch(/disk .*full/);
  expect(said.error!.message).not.toContain(platform.dataDir);

  expect((await usageOf(first.container_id)).some(({ last }) => last)).toBe(false);
  free();
  // Billed once, to its true end, without a gap.
  const intervals = await eventually(async () => {
    const found = await usageOf(first.container_id);
    return found.some(({ last }) => last) && found.sort((a, b) => a.sequence - b.sequence);
  }, 90_000);
  expect(intervals.map(({ sequence }) => sequence)).toEqual(intervals.map((_, index) => index));
  for (const [index, { started_at }] of intervals.entries()) {
    if (index > 0) expect(started_at).toBe(intervals[index - 1]!.ended_at);
  }
  expect(intervals.filter(({ last }) => last)).toHaveLength(1);
  const endedAt = Date.parse(intervals.at(-1)!.ended_at);
  expect(endedAt).toBeGreaterThanOrEqual(before - CLOCKS_MS);
  expect(endedAt).toBeLessThanOrEqual(after + CLOCKS_MS);

  // A runner that begins on a full disk cannot; what is accepted meanwhile waits for it.
  fill();
  const { process: victim, restarts } = platform.child('runner');
  process.kill(victim!.pid, 'SIGKILL');
  const accepted = await Promise.all(
    [warm, cold].map((id) => berth.functions.spawn(id, { args: ['after'] })),
  );
  await eventually(() => platform.child('runner').restarts > restarts, 60_000);
  free();
  await eventually(() => platform.child('runner').state === 'up', 60_000);
  for (const call of accepted)
    expect(await ended(call)).toMatchObject({ status: 'success', result: 'after' });
});
