import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Docker from 'dockerode';

import { BASE_IMAGE, ensureBaseImages, openEngine, type ContainerEngine } from '../src';
import { dockerHost, until } from './conformance';

let stateDir: string;
let proxy: Server;
let engine: ContainerEngine;
const sockets = new Set<Socket>();
let refusing = false;

/** A door to the Docker Engine that can be shut, which the engine itself is no test's to do. */
beforeAll(async () => {
  const cacheDir = join(tmpdir(), 'berth-base-image-cache');
  await ensureBaseImages(new Docker(), { log: () => undefined, cacheDir });
  stateDir = await mkdtemp(join(tmpdir(), 'berth-reconnect-'));
  const path = join(stateDir, 'docker.sock');
  const { protocol, hostname, port, pathname } = new URL(dockerHost);
  const behind = protocol === 'unix:' ? { path: pathname } : { host: hostname, port: Number(port) };
  proxy = createServer({ allowHalfOpen: true }, (client) => {
    if (refusing) return void client.destroy();
    const server = connect({ ...behind, allowHalfOpen: true });
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => (sockets.delete(from), to.destroy()));
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => proxy.listen(path, resolve));
  const owner = `test-${randomBytes(6).toString('hex')}`;
  engine = await openEngine('docker', { stateDir, owner, dockerHost: `unix://${path}` });
}, 240_000);

afterAll(async () => {
  refusing = false;
  for (const { id } of await engine.list()) await engine.remove(id);
  await engine[Symbol.asyncDispose]();
  proxy.close();
  await rm(stateDir, { recursive: true, force: true });
});

test('a container that ends while the engine is cut off is still heard of, by wait and by events', async () => {
  const stop = new AbortController();
  const died: string[] = [];
  const listening = (async () => {
    for await (const { kind, id } of engine.events(stop.signal)) if (kind === 'die') died.push(id);
  })();
  const name = `berth-test-${randomBytes(8).toString('hex')}`;
  const command = ['sh', '-c', 'trap "exit 8" TERM; while :; do sleep 0.05; done'];
  const id = await engine.create({ name, image: BASE_IMAGE, command, network: 'none' });
  await engine.start(id);
  const waiting = engine.wait(id);

  refusing = true;
  for (const socket of sockets) socket.destroy();
  await expect(engine.list()).rejects.toMatchObject({ kind: 'unavailable' });
  const direct = new Docker().getContainer(id);
  await direct.stop({ t: 20 });
  refusing = false;

  expect(await waiting).toMatchObject({ exitCode: 8 });
  await until(() => died.includes(id));
  stop.abort();
  await listening;
  expect(died).toEqual([id]);
});
