/** The same work through the queues that a team would otherwise build upon, each behind an endpoint that waits. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../requirements.mjs';
import { firstLine, startPostgres } from './servers.mjs';

/** Starts a peer with its store in a fresh folder; undefined where its store is not installed. */
export async function startPeer(name, { workers }) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bench-peer-'));
  const ended = [];
  const close = async () => {
    for (const end of ended.reverse()) await end();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const store = await STORES[name](folder);
    if (!store) {
      await close();
      return undefined;
    }
    ended.push(store.close);
    const start = async (...args) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'peer.mjs'), ...args], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      ended.push(() => stop(child, () => child.stdin.end()));
      return JSON.parse(await firstLine(child));
    };
    await start('worker', name, store.url, String(workers));
    const { url } = await start('endpoint', name, store.url);
    return { url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const stop = (child, tell) =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', resolve);
    tell();
  });

const STORES = {
  async bullmq(folder) {
    const program = findProgram('redis-server');
    if (!program) return undefined;
    const url = join(folder, 'redis.sock');
    const options = ['--port', '0', '--unixsocket', url, '--dir', folder, '--save', ''];
    // What BullMQ's own guide asks for: nothing is evicted, and a crash loses a second at most.
    const durable = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction'];
    const child = spawn(program, [...options, ...durable], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    await new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}: ${said}`)));
      child.stdout.on('data', (data) => {
        said += data;
        if (/ready to accept connections/i.test(said)) resolve();
      });
    });
    return { url, close: () => stop(child, () => child.kill()) };
  },

  async 'pg-boss'(folder) {
    const { url, close } = await startPostgres(folder);
    return { url, close };
  },
};
