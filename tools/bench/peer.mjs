// One process of a peer, as its users would run it: `peer.mjs endpoint|worker bullmq|pg-boss <url> [processes]`.
// The endpoint answers a request when its job has its result; the worker has so many Python processes, each of which
// runs one job at a time. Prints one line of JSON when it is ready.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Queue, QueueEvents, Worker } from 'bullmq';
import Fastify from 'fastify';
import IORedis from 'ioredis';
import pg from 'pg';
import { PgBoss } from 'pg-boss';

const QUEUE = 'bench';
const [role, peer, url, processes = '0'] = process.argv.slice(2);

/** The same work as the function of the bench does, without anything around it. */
const PYTHON = `
import json, sys
def run(x):
    return x
for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
`;

function startPython() {
  const child = spawn('python3', ['-c', PYTHON], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = [];
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()(JSON.parse(line)));
  return (args) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      child.stdin.write(`${JSON.stringify(args)}\n`);
    });
}

/** Runs one job on whichever process is free; there are as many jobs at a time as processes. */
function startPythons(count) {
  const free = Array.from({ length: count }, startPython);
  return async (args) => {
    const run = free.pop();
    try {
      return await run(args);
    } finally {
      free.push(run);
    }
  };
}

const redis = () => new IORedis({ path: url, maxRetriesPerRequest: null });

const endpoints = {
  async bullmq() {
    const queue = new Queue(QUEUE, { connection: redis() });
    const events = new QueueEvents(QUEUE, { connection: redis() });
    await events.waitUntilReady();
    return async (args) =>
      (await queue.add('run', args, { removeOnComplete: 1000 })).waitUntilFinished(events);
  },

  /**
   * pg-boss tells nobody that a job has ended: the worker says so itself, with what Postgres has for that, just before the
   * job is completed; so the answer comes a little sooner than it would.
   */
  async 'pg-boss'() {
    const boss = await openBoss();
    const waiting = new Map();
    const listener = new pg.Client(url);
    await listener.connect();
    listener.on('notification', ({ payload }) => {
      const { id, result } = JSON.parse(payload);
      waiting.get(id)?.(result);
      waiting.delete(id);
    });
    await listener.query('LISTEN bench_done');
    return (args) =>
      new Promise((resolve, reject) => {
        const id = crypto.randomUUID();
        waiting.set(id, resolve);
        boss.send(QUEUE, { args }, { id }).catch(reject);
      });
  },
};

const workers = {
  async bullmq(run) {
    const worker = new Worker(QUEUE, ({ data }) => run(data), {
      connection: redis(),
      concurrency: Number(processes),
    });
    await worker.waitUntilReady();
  },

  async 'pg-boss'(run) {
    const boss = await openBoss();
    const pool = new pg.Pool({ connectionString: url, max: Number(processes) });
    // As quick as its settings allow: woken by NOTIFY, in batches, without a pause while there is more.
    const options = {
      localConcurrency: Number(processes),
      batchSize: 16,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
      notifyPollingIntervalSeconds: 0.5,
    };
    await boss.work(QUEUE, options, async (jobs) => {
      for (const { id, data } of jobs) {
        const result = await run(data.args);
        await pool.query('SELECT pg_notify($1, $2)', ['bench_done', JSON.stringify({ id, result })]);
      }
    });
  },
};

async function openBoss() {
  const boss = new PgBoss({ connectionString: url, useListenNotify: true });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  return boss;
}

if (role === 'endpoint') {
  const invoke = await endpoints[peer]();
  const server = Fastify();
  server.post('/', async ({ body }) => ({ status: 'success', result: await invoke(body.args) }));
  await server.listen({ host: '127.0.0.1', port: 0 });
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.server.address().port}/` }));
} else {
  await workers[peer](startPythons(Number(processes)));
  console.log('{}');
}
process.stdin.on('end', () => process.exit(0)).resume();
