/**
 * What a warm input costs through a worker, beside the least it could: the same bytes echoed by a bare Python loop
 * over a Unix socket. One at a time, from the moment of sending to the outcome, both measured in turns in one run.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listenForWorker, workerCommand, workerFolder, type Runtime } from '@berth/worker-protocol';

export interface Latency {
  p50Us: number;
  p99Us: number;
}

export interface Subject {
  /** One round trip. */
  once: () => Promise<unknown>;
  close: () => Promise<void>;
}

const SOURCES: Record<Runtime, { file: string; text: string }> = {
  python: { file: 'main.py', text: 'def handler(x): return x\n' },
  node: { file: 'main.mjs', text: 'export const handler = (x) => x;\n' },
};

const ECHO = `
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(1)
print('listening', flush=True)
connection, _ = server.accept()
while True:
    data = connection.recv(65536)
    if not data: break
    connection.sendall(data)
`;

/** The floor: `bytes` bytes to a Python process over a Unix socket and back. */
export async function bareUnixEcho(bytes = 180): Promise<Subject> {
  const folder = await mkdtemp(join(tmpdir(), 'be-'));
  const path = join(folder, 's');
  const child = spawn('python3', ['-S', '-c', ECHO, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const socket: Socket = connect(path);
  await once(socket, 'connect');
  const message = Buffer.alloc(bytes, 1);
  let received = 0;
  let done = () => {};
  socket.on('data', (chunk: Buffer) => {
    received += chunk.byteLength;
    if (received < bytes) return;
    received = 0;
    done();
  });
  return {
    once: () =>
      new Promise<void>((resolve) => {
        done = resolve;
        socket.write(message);
      }),
    close: async () => {
      socket.destroy();
      await end(child);
      await rm(folder, { recursive: true });
    },
  };
}

/** A real worker whose function returns its argument. */
export async function warmWorker(runtime: Runtime): Promise<Subject> {
  const folder = await mkdtemp(join(tmpdir(), 'bw-'));
  const { file, text } = SOURCES[runtime];
  await writeFile(join(folder, file), text);
  const token = 'bench';
  const server = await listenForWorker({ at: { path: join(folder, 's') }, token });
  const [command, ...args] = workerCommand(runtime, workerFolder());
  const child = spawn(runtime === 'node' ? process.execPath : command!, args, {
    env: { PATH: process.env.PATH, BERTH_SOCKET: server.address, BERTH_RUN_TOKEN: token },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const connection = await server.accepted;
  const started = await connection.start('main:handler', folder);
  if (started.kind !== 'ready') throw new Error(`the worker did not start: ${JSON.stringify(started)}`);
  const payload = Buffer.from('{"args":[1],"kwargs":{}}');
  let count = 0;
  return {
    once: async () => {
      const inputId = `in-${String(count++).padStart(22, '0')}`;
      const outcome = await connection.sendInput(
        { inputId, callId: inputId, attempt: 1, format: 'json' },
        payload,
      );
      if (outcome.kind !== 'success') throw new Error(JSON.stringify(outcome));
    },
    close: async () => {
      connection.close();
      await end(child);
      await rm(folder, { recursive: true });
    },
  };
}

/** Latency of each subject over `rounds` round trips, taken in turns of 100 so that all see the same machine. */
export async function inTurns<Name extends string>(
  subjects: Record<Name, Subject>,
  rounds = 5000,
): Promise<Record<Name, Latency>> {
  const names = Object.keys(subjects) as Name[];
  const taken = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let turn = -10; turn < rounds / 100; turn++) {
    for (const name of names) {
      for (let i = 0; i < 100; i++) {
        const began = process.hrtime.bigint();
        await subjects[name].once();
        if (turn >= 0) taken[name].push(Number(process.hrtime.bigint() - began) / 1000);
      }
    }
  }
  const latency = (times: number[]): Latency => {
    times.sort((a, b) => a - b);
    const at = (part: number) => Math.round(times[Math.floor(times.length * part)]! * 10) / 10;
    return { p50Us: at(0.5), p99Us: at(0.99) };
  };
  return Object.fromEntries(names.map((name) => [name, latency(taken[name])])) as Record<Name, Latency>;
}

/** A warm input in each runtime beside the bare echo. */
export async function measureWorkerRoundtrip(rounds?: number) {
  const subjects = {
    bareUnixEcho: await bareUnixEcho(),
    python: await warmWorker('python'),
    node: await warmWorker('node'),
  };
  try {
    return await inTurns(subjects, rounds);
  } finally {
    for (const subject of Object.values(subjects)) await subject.close();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}
