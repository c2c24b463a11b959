import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { DataFolder } from './data-folder';
import { findProgram } from './find-program';
import { Refusal } from './refusal';
import type { ChildSpec } from './supervisor';
import { writeAtomically } from './write-atomically';

const USER = 'berth';

/** The server's configuration: only this machine, only with the password, JetStream on files. */
export const natsConfiguration = (storeFolder: string, port: number, password: string): string => `\
server_name: berth
listen: "127.0.0.1:${port}"
max_payload: 8MB
jetstream {
  store_dir: ${JSON.stringify(storeFolder)}
  max_memory_store: 64MB
  max_file_store: 20GB
}
authorization { user: ${USER}, password: ${JSON.stringify(password)} }
`;

/** Whether a NATS server greets there within two seconds. */
export function natsAnswers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ port: Number(port || 4222), host: hostname, timeout: 2000 });
    socket.once('timeout', () => socket.destroy());
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('data', (hello) => {
      resolve(hello.toString().startsWith('INFO '));
      socket.destroy();
    });
  });
}

/** How to run our own NATS on `port` of 127.0.0.1. Errors: `Refusal` when there is no nats-server. */
export function ownNats(
  folder: DataFolder,
  port: number,
  password: string,
): { spec: ChildSpec; url: string } {
  const command = findProgram('nats-server');
  if (!command)
    throw new Refusal(
      'There is no nats-server: npm start says how to get one; or set BERTH_NATS_URL to a server.',
    );
  const configuration = join(folder.run, 'nats.conf');
  writeAtomically(configuration, natsConfiguration(folder.nats, port, password));
  const url = `nats://${USER}:${password}@127.0.0.1:${port}`;
  return {
    url,
    spec: {
      name: 'nats',
      command,
      args: ['-c', configuration],
      env: { PATH: process.env.PATH },
      cwd: '/',
      log: join(folder.logs, 'nats.log'),
      ready: async (_pid, signal) => {
        while (!(await natsAnswers(url))) await pause(25, undefined, { signal });
      },
      readyWithinMs: 120_000,
      stopSignal: 'SIGTERM',
      graceMs: 15_000,
    },
  };
}
