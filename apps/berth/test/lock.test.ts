import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lockHolder, takeLock } from '../src/up/lock';
import { ended, identify, isAlive } from '../src/up/process-identity';

let folder: string;
let lock: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-lock-'));
  lock = join(folder, 'lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const sleeper = () => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });

test('is taken once, and again when it was given back', () => {
  const first = takeLock(lock);
  expect(first).toHaveProperty('release');
  expect(takeLock(lock)).toMatchObject({ heldBy: { pid: process.pid } });
  if ('release' in first) first.release();
  expect(existsSync(lock)).toBe(false);
  expect(takeLock(lock)).toHaveProperty('release');
  expect(readdirSync(folder)).toEqual(['lock']);
});

test('of a process that lives is respected; of one that was killed, it counts for nothing', async () => {
  const holder = sleeper();
  await once(holder, 'spawn');
  const identity = identify(holder.pid!)!;
  writeFileSync(lock, JSON.stringify(identity));
  expect(takeLock(lock)).toEqual({ heldBy: identity });

  holder.kill('SIGKILL');
  await once(holder, 'exit');
  expect(lockHolder(lock)).toBeUndefined();
  expect(takeLock(lock)).toHaveProperty('release');
  expect(readdirSync(folder)).toEqual(['lock']);
});

test('of a pid that was given to another process counts for nothing', () => {
  writeFileSync(lock, JSON.stringify({ pid: process.pid, started: 'some other boot/1' }));
  expect(takeLock(lock)).toHaveProperty('release');
});

test('half a lock counts for nothing', () => {
  writeFileSync(lock, '{"pid":');
  expect(takeLock(lock)).toHaveProperty('release');
});

test('a process is known again, and known to be gone', async () => {
  const child = sleeper();
  await once(child, 'spawn');
  const identity = identify(child.pid!)!;
  expect(isAlive(identity)).toBe(true);
  expect(await ended(identity, 150)).toBe(false);
  child.kill('SIGKILL');
  expect(await ended(identity, 5000)).toBe(true);
  expect(identify(child.pid!)).toBeUndefined();
});
