/** A platform of the bench's own, in a fresh data folder, started and stopped as a user does. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { freePort } from './servers.mjs';

const root = dirname(dirname(import.meta.dirname));

const run = (args, env) =>
  new Promise((resolve, reject) => {
    const child = spawn('npm', args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(said) : reject(new Error(`npm ${args.join(' ')}:\n${said}`)),
    );
  });

/** `start()` gives milliseconds; data and ports stay the same from start to start. */
export async function createPlatform() {
  const dataDir = mkdtempSync(join(tmpdir(), 'berth-bench-platform-'));
  const [httpPort, grpcPort] = [await freePort(), await freePort()];
  const env = {
    ...process.env,
    BERTH_DATA_DIR: dataDir,
    BERTH_HTTP_PORT: String(httpPort),
    BERTH_GRPC_PORT: String(grpcPort),
    // What is measured is a start, not the wait for a container before it to make room.
    BERTH_NODE_CPUS: '64',
  };
  return {
    dataDir,
    async start() {
      const begin = performance.now();
      await run(['start', '--', '--detach'], env);
      return performance.now() - begin;
    },
    stop: () => run(['stop'], env),
    credentials: () => JSON.parse(readFileSync(join(dataDir, 'credentials.json'), 'utf8')),
    remove: () => rmSync(dataDir, { recursive: true, force: true }),
    processes: () => platformProcesses(dataDir),
  };
}

/**
 * The platform's processes with memory and CPU: those that have its data folder in their environment or command
 * line, and their children; the container engine and what it runs are left out.
 */
function platformProcesses(dataDir) {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap(readProcess);
  const mine = new Set(all.filter(({ about }) => about.includes(dataDir)).map(({ pid }) => pid));
  for (let grew = true; grew;) {
    const children = all.filter(({ pid, parent }) => mine.has(parent) && !mine.has(pid));
    for (const { pid } of children) mine.add(pid);
    grew = children.length > 0;
  }
  return all.filter(
    ({ pid, name }) =>
      mine.has(pid) && pid !== process.pid && !/^(dockerd|containerd|docker-|runc)/.test(name),
  );
}

function readProcess(pid) {
  try {
    const read = (file) => readFileSync(`/proc/${pid}/${file}`, 'utf8');
    const stat = read('stat');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const rollup = read('smaps_rollup');
    const kilobytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0);
    return [
      {
        pid: Number(pid),
        parent: Number(fields[1]),
        name: read('comm').trim(),
        about: `${read('cmdline')}\0${read('environ')}`,
        ticks: Number(fields[11]) + Number(fields[12]),
        rssMb: kilobytes('Rss') / 1024,
        pssMb: kilobytes('Pss') / 1024,
      },
    ];
  } catch {
    return []; // It ended while we looked, or is not ours to look at.
  }
}

/** Clock ticks per second of `ticks`: fixed on Linux. */
export const TICKS_PER_SECOND = 100;
