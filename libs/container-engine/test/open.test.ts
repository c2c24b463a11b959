import { createServer } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openEngine } from '../src';

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'berth-open-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

test('auto falls back to processes where no Docker Engine answers', async () => {
  const dockerHost = `unix://${join(stateDir, 'nowhere.sock')}`;
  await using engine = await openEngine('auto', { stateDir, dockerHost });
  expect(engine).toMatchObject({ kind: 'process', isolated: false });
});

test('docker asked for by name does not, and says what to do', async () => {
  const dockerHost = `unix://${join(stateDir, 'nowhere.sock')}`;
  await expect(openEngine('docker', { stateDir, dockerHost })).rejects.toMatchObject({
    kind: 'unavailable',
    message: expect.stringMatching(/dockerd.*BERTH_ENGINE=process/) as string,
  });
});

test('auto does not give up isolation for an engine that answers with a fault', async () => {
  const socket = join(stateDir, 'faulty.sock');
  const server = createServer((_request, response) => response.writeHead(500).end('{"message":"disk full"}'));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    await expect(openEngine('auto', { stateDir, dockerHost: `unix://${socket}` })).rejects.toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('disk full') as string,
    });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test.each([
  ['owner', { owner: 'a b' }],
  ['dockerHost', { dockerHost: 'ssh://somewhere' }],
])('a bad %s is named', async (field, options) => {
  await expect(openEngine('docker', { stateDir, ...options })).rejects.toMatchObject({
    kind: 'invalid',
    field,
  });
});
