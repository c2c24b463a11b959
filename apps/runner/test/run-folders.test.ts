import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '@berth/database';
import { openRunFolders, SOCKET_NAME } from '../src/containers/run-folders';

const folder = mkdtempSync(join(tmpdir(), 'berth-run-'));
const owner = `berth-test-${process.pid}`;
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(join(tmpdir(), owner), { recursive: true, force: true });
});

test.each([
  ['short', folder],
  ['long', join(folder, 'a-long-name'.repeat(8))],
])('a socket has room below a %s data folder, others may not look, nobody may pass', async (_, data) => {
  const folders = await openRunFolders(data, owner);
  const id = newId('ta');
  const made = await folders.make(id);
  expect(Buffer.byteLength(join(made, SOCKET_NAME))).toBeLessThanOrEqual(107);
  expect(statSync(made).mode & 0o777).toBe(0o711);
  expect(statSync(join(made, '..')).mode & 0o777).toBe(0o700);

  // What an earlier process left is gone.
  await openRunFolders(data, owner);
  expect(existsSync(made)).toBe(false);
  await folders.remove(id);
});
