/** The hops of a call done bare, in the same run as the call itself: what physics and the libraries cost here. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import grpc from '@grpc/grpc-js';
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import pg from 'pg';
import { Agent, request } from 'undici';
import { findProgram } from '../requirements.mjs';
import { firstLine, freePort, startPostgres } from './servers.mjs';
import { summary, timed } from './statistics.mjs';

const PAYLOAD = Buffer.from('{"args":[2012],"kwargs":{}}');

/** Measures each hop `count` times, one at a time; gives `{hop: {n, p50_ms, p99_ms}}`. */
export async function measureFloors(count) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
  const warmup = Math.ceil(count / 5);
  const floors = {};
  try {
    await withEchoServers(folder, async ({ http, unary }) => {
      floors.http_request = summary(await timed(count, warmup, http));
      floors.grpc_unary = summary(await timed(count, warmup, unary));
    });
    floors.jetstream_publish_consume = summary(await withNats(folder, (hop) => timed(count, warmup, hop)));
    floors.postgres_insert = summary(await withPostgres(folder, (hop) => timed(count, warmup, hop)));
    floors.python_socket = summary(await withPython(folder, (hop) => timed(count, warmup, hop)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return floors;
}

async function withEchoServers(folder, work) {
  const socket = join(folder, 'echo.sock');
  const child = spawn(process.execPath, [join(import.meta.dirname, 'echo-servers.mjs'), socket], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const { httpPort } = JSON.parse(await firstLine(child));
  const dispatcher = new Agent();
  const client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure());
  const identity = (bytes) => bytes;
  try {
    await work({
      http: async () => {
        const { body } = await request(`http://127.0.0.1:${httpPort}/`, {
          method: 'POST',
          body: PAYLOAD,
          dispatcher,
        });
        await body.arrayBuffer();
      },
      unary: () =>
        new Promise((resolve, reject) =>
          client.makeUnaryRequest('/bench.Echo/Echo', identity, identity, PAYLOAD, (error, answer) =>
            error ? reject(error) : resolve(answer),
          ),
        ),
    });
  } finally {
    client.close();
    await dispatcher.close();
    child.stdin.end();
  }
}

async function withNats(folder, work) {
  const port = await freePort();
  const child = spawn(
    findProgram('nats-server'),
    ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', join(folder, 'nats')],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  await firstLine(child, 'stderr');
  const nats = await connect({
    servers: `127.0.0.1:${port}`,
    waitOnFirstConnect: true,
    reconnectTimeWait: 50,
  });
  try {
    const manager = await jetstreamManager(nats);
    await manager.streams.add({
      name: 'BENCH',
      subjects: ['bench.>'],
      storage: StorageType.File,
      retention: RetentionPolicy.Workqueue,
    });
    await manager.consumers.add('BENCH', { durable_name: 'bench', ack_policy: AckPolicy.Explicit });
    const js = jetstream(nats);
    const messages = await (await js.consumers.get('BENCH', 'bench')).consume({ max_messages: 1 });
    const iterator = messages[Symbol.asyncIterator]();
    return await work(async () => {
      const [, { value }] = await Promise.all([js.publish('bench.input', PAYLOAD), iterator.next()]);
      value.ack();
    });
  } finally {
    await nats.close();
    child.kill();
  }
}

async function withPostgres(folder, work) {
  const server = await startPostgres(folder);
  const client = new pg.Client(server.url);
  try {
    await client.connect();
    await client.query(
      'CREATE TABLE bench (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea)',
    );
    return await work(() =>
      client.query({
        name: 'insert',
        text: 'INSERT INTO bench (payload) VALUES ($1) RETURNING id',
        values: [PAYLOAD],
      }),
    );
  } finally {
    await client.end();
    await server.close();
  }
}

const PYTHON_ECHO = `
import socket, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen(); print("ready", flush=True)
peer, _ = server.accept()
while data := peer.recv(65536): peer.sendall(data)
`;

async function withPython(folder, work) {
  const script = join(folder, 'echo.py');
  const path = join(folder, 'python.sock');
  writeFileSync(script, PYTHON_ECHO);
  const child = spawn('python3', [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await firstLine(child);
  const socket = dial(path);
  try {
    return await work(() => {
      socket.write(PAYLOAD);
      return new Promise((resolve) => socket.once('data', resolve));
    });
  } finally {
    socket.destroy();
    child.kill();
  }
}
