// npm run bench: what the platform costs, as ratios to what the same hops cost bare in the same run.
//   npm run bench                      everything
//   npm run bench -- warm cold         only these: start idle functions warm load peers map cold
// Prints a table and writes dist/bench.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import Docker from 'dockerode';
import { build } from 'esbuild';
import { Agent, request } from 'undici';
import { measureFloors } from './bench/floors.mjs';
import { startPeer } from './bench/peers.mjs';
import { createPlatform, TICKS_PER_SECOND } from './bench/platform.mjs';
import { quantile, round, summary, timed } from './bench/statistics.mjs';

const WARM_CALLS = 1000;
const LOAD_CALLERS = 64;
const LOAD_WORKERS = 2;
const LOAD_CALLS = 6000;
const MAP_INPUTS = 10_000;
const COLD_CALLS = 10;
const IDLE_SECONDS = 20;
const IDLE_FUNCTIONS = 1000;

const SECTIONS = ['start', 'idle', 'functions', 'warm', 'load', 'peers', 'map', 'cold'];
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const unknown = wanted.filter((word) => !SECTIONS.includes(word));
if (unknown.length > 0) {
  console.error(`There is no section ${unknown.join(', ')}: ${SECTIONS.join(' ')}`);
  process.exit(2);
}
const wants = (section) => wanted.length === 0 || wanted.includes(section);

const rows = [];
function report(section, figure, value, unit, target = '', note = '') {
  rows.push({ section, figure, value, unit, target, note });
  console.log(
    `${section.padEnd(6)} ${figure.padEnd(44)} ${String(value).padStart(10)} ${unit.padEnd(6)} ${target.padEnd(10)} ${note}`,
  );
}

/** The REST API with as many connections as there are callers. */
function createApi(credentials) {
  const dispatcher = new Agent({ connections: 128, headersTimeout: 0, bodyTimeout: 0 });
  const authorization = `Bearer ${credentials.token_id}.${credentials.token_secret}`;
  const call = async (method, path, body) => {
    const { statusCode, body: answer } = await request(new URL(path, credentials.api_url), {
      method,
      dispatcher,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const document = await answer.json();
    if (statusCode >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(document)}`);
    return document;
  };
  return {
    call,
    async makeFunction(appId, name, options = {}) {
      return call('POST', `/v1/apps/${appId}/functions`, {
        name,
        runtime: 'python',
        handler: 'main:run',
        files: { 'main.py': 'def run(x):\n    return x\n' },
        ...options,
      });
    },
    async invoke(functionId) {
      const outcome = await call('POST', `/v1/functions/${functionId}/invocations`, { args: [2012] });
      if (outcome.status !== 'success') throw new Error(`a call ended as ${JSON.stringify(outcome)}`);
      return outcome;
    },
    close: () => dispatcher.close(),
  };
}

async function warm(api, appId) {
  const { function_id } = await api.makeFunction(appId, 'warm', { min_containers: 1, max_containers: 1 });
  const floors = await measureFloors(WARM_CALLS);
  const values = await timed(WARM_CALLS, 200, () => api.invoke(function_id));
  const sum = Object.values(floors).reduce((total, { p50_ms }) => total + p50_ms, 0);
  for (const [hop, { p50_ms, p99_ms }] of Object.entries(floors))
    report('warm', `bare ${hop}, p50`, p50_ms, 'ms', '', `p99 ${p99_ms}`);
  const { p50_ms, p99_ms } = summary(values);
  report('warm', 'sum of bare hops, p50', round(sum), 'ms');
  report('warm', 'call over REST, p50', p50_ms, 'ms');
  report('warm', 'call over REST, p99', p99_ms, 'ms');
  report('warm', 'p50 to the sum of bare hops', round(p50_ms / sum, 2), 'x', '<= 1.5');
  report('warm', 'p99 to its own p50', round(p99_ms / p50_ms, 2), 'x', '<= 4');
}

/** A function of warm containers. */
async function loadedFunction(api, appId) {
  const { function_id } = await api.makeFunction(appId, 'load', {
    min_containers: LOAD_WORKERS,
    max_containers: LOAD_WORKERS,
    cpu: 0.5,
  });
  await Promise.all(Array.from({ length: LOAD_CALLERS }, () => api.invoke(function_id)));
  return function_id;
}

/** Milliseconds of each of `calls` runs of `work`, made by LOAD_CALLERS at once, and how long all of it took. */
async function atOnce(work, calls = LOAD_CALLS) {
  const values = [];
  let left = calls;
  const caller = async () => {
    while (left-- > 0) {
      const start = performance.now();
      await work();
      values.push(performance.now() - start);
    }
  };
  const begin = performance.now();
  await Promise.all(Array.from({ length: LOAD_CALLERS }, caller));
  return { values, seconds: (performance.now() - begin) / 1000 };
}

/** Calls a second, after the load case: the same work through other queues by as many workers. */
async function peers(ours) {
  const dispatcher = new Agent({ connections: 128 });
  for (const [name, target] of [
    ['bullmq', 1],
    ['pg-boss', 2],
  ]) {
    const peer = await startPeer(name, { workers: LOAD_WORKERS });
    if (!peer) {
      report('peers', `${name}: its server is not installed`, '-', '', '', 'apt-get install redis-server');
      continue;
    }
    const invoke = async () => {
      const { statusCode, body } = await request(peer.url, {
        method: 'POST',
        dispatcher,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ args: [2012] }),
      });
      const answer = await body.json();
      if (statusCode !== 200 || answer.result !== 2012) throw new Error(`${name}: ${JSON.stringify(answer)}`);
    };
    try {
      await Promise.all(Array.from({ length: LOAD_CALLERS }, invoke));
      const { values, seconds } = await atOnce(invoke);
      const rate = values.length / seconds;
      report(
        'peers',
        `${name}, ${LOAD_CALLERS} callers`,
        round(rate, 0),
        'call/s',
        '',
        `p50 ${summary(values).p50_ms} ms`,
      );
      report('peers', `berth to ${name}`, round(ours / rate, 2), 'x', `>= ${target}`);
    } finally {
      await peer.close();
    }
  }
  await dispatcher.close();
}

async function load(api, functionId, platform) {
  const before = new Map(platform.processes().map((each) => [each.pid, each.ticks]));
  const own = process.cpuUsage();
  const { values, seconds } = await atOnce(() => api.invoke(functionId));
  const used = process.cpuUsage(own);
  const { p50_ms, p99_ms } = summary(values);
  const rate = values.length / seconds;
  report('load', `${LOAD_CALLERS} callers`, round(rate, 0), 'call/s');
  report('load', 'p50', p50_ms, 'ms');
  report('load', 'p99', p99_ms, 'ms');
  const shares = platform
    .processes()
    .map(({ pid, name, ticks }) => ({
      name,
      cores: (ticks - (before.get(pid) ?? 0)) / TICKS_PER_SECOND / seconds,
    }))
    .concat({ name: 'bench client', cores: (used.user + used.system) / 1e6 / seconds });
  const byName = new Map();
  for (const { name, cores } of shares) byName.set(name, (byName.get(name) ?? 0) + cores);
  for (const [name, cores] of [...byName].sort((a, b) => b[1] - a[1]).slice(0, 5)) {
    report(
      'load',
      `cores used by ${name}`,
      round(cores, 2),
      'cores',
      '',
      cores > 0.9 ? 'saturated: one event loop is one core' : '',
    );
  }
  return rate;
}

const memoryOf = (platform) => {
  const byName = new Map();
  for (const { name, pssMb } of platform.processes()) byName.set(name, (byName.get(name) ?? 0) + pssMb);
  return byName;
};

/** The SDK as a user of the package has it. */
async function bundledSdk() {
  const out = join(dirname(import.meta.dirname), 'dist', 'bench', 'sdk.mjs');
  await build({
    entryPoints: [join(dirname(import.meta.dirname), 'libs/sdk/src/index.ts')],
    outfile: out,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
  });
  return import(out);
}

/**
 * A map through the SDK: its time per input beside that of concurrent callers in the same run, and what both sides hold
 * in memory for more inputs.
 */
async function map(api, functionId, platform) {
  const { Berth } = await bundledSdk();
  const { api_url, token_id, token_secret } = platform.credentials();
  const berth = new Berth({ apiUrl: api_url, tokenId: token_id, tokenSecret: token_secret });
  let clientMb = 0;
  const mapOver = async (count, options = {}) => {
    const inputs = function* () {
      for (let x = 0; x < count; x++) yield x;
    };
    let received = 0;
    const begin = performance.now();
    for await (const x of berth.map(functionId, inputs(), options)) {
      if (options.orderOutputs !== false && x !== received) throw new Error(`output ${received} is ${x}`);
      received++;
      if (received % 500 === 0) clientMb = Math.max(clientMb, process.memoryUsage().heapUsed / 1024 ** 2);
    }
    if (received !== count) throw new Error(`${received} outputs of ${count} inputs`);
    return (performance.now() - begin) / count;
  };
  await mapOver(1000);
  const called = await atOnce(() => api.invoke(functionId), LOAD_CALLS / 2);
  const perCall = (called.seconds * 1000) / called.values.length;
  clientMb = 0;
  const ordered = await mapOver(MAP_INPUTS);
  const [heapAfterOne, before] = [clientMb, memoryOf(platform)];
  const calledAgain = await atOnce(() => api.invoke(functionId), LOAD_CALLS / 2);
  const perCallAgain = (calledAgain.seconds * 1000) / calledAgain.values.length;
  clientMb = 0;
  const unordered = await mapOver(2 * MAP_INPUTS, { orderOutputs: false });
  const [heapAfterTwo, after] = [clientMb, memoryOf(platform)];

  const floor = (perCall + perCallAgain) / 2;
  report('map', `${LOAD_CALLERS} callers, time per call`, round(floor), 'ms');
  report('map', `${MAP_INPUTS} inputs in order, time per input`, round(ordered), 'ms');
  report('map', `${2 * MAP_INPUTS} inputs as they come, time per input`, round(unordered), 'ms');
  report(
    'map',
    'time per input to time per call',
    round(Math.max(ordered, unordered) / floor, 2),
    'x',
    '<= 1.2',
  );
  report('map', `client heap, ${MAP_INPUTS} inputs, at most`, round(heapAfterOne, 1), 'MB');
  report('map', `client heap, ${2 * MAP_INPUTS} inputs, at most`, round(heapAfterTwo, 1), 'MB');
  for (const name of before.keys()) {
    const grew = (after.get(name) ?? 0) - before.get(name);
    if (before.get(name) > 20)
      report('map', `${name} grew by`, round(grew, 1), 'MB', '', `from ${round(before.get(name), 1)}`);
  }
  await berth.close();
}

async function bareStart(docker, image) {
  const createAndStart = await timed(COLD_CALLS, 1, async () => {
    const container = await docker.createContainer({
      Image: image,
      Cmd: ['sleep', '30'],
      HostConfig: { AutoRemove: true },
    });
    await container.start();
    bare.push(container);
  });
  await Promise.all(bare.map((container) => container.remove({ force: true }).catch(() => undefined)));
  return quantile(createAndStart, 0.5);
}
const bare = [];

async function bareInterpreter() {
  const { spawnSync } = await import('node:child_process');
  return quantile(await timed(10, 2, () => spawnSync('python3', ['-c', 'pass'])), 0.5);
}

async function cold(api, appId) {
  const docker = new Docker();
  const [image] = (await docker.listImages())
    .flatMap(({ RepoTags }) => RepoTags ?? [])
    .filter((tag) => tag.startsWith('berth/'));
  if (!image) {
    report('cold', 'no container engine with a base image answers here', '-', '');
    return;
  }
  const floor = (await bareStart(docker, image)) + (await bareInterpreter());
  const values = [];
  const phases = new Map();
  for (let index = 0; index < COLD_CALLS; index++) {
    const { function_id } = await api.makeFunction(appId, `cold-${index}`, { scaledown_window: 1 });
    const begin = performance.now();
    const outcome = await api.invoke(function_id);
    values.push(performance.now() - begin);
    for (const { name, duration_ms } of outcome.phases)
      phases.set(name, [...(phases.get(name) ?? []), duration_ms]);
  }
  const { p50_ms, p99_ms } = summary(values);
  report('cold', 'bare create+start and interpreter, p50', round(floor, 1), 'ms', '', image);
  report('cold', 'cold call over REST, p50', round(p50_ms, 1), 'ms', '', `p99 ${round(p99_ms, 1)}`);
  for (const [name, durations] of phases)
    report('cold', `phase ${name}, p50`, round(quantile(durations, 0.5), 1), 'ms');
  report('cold', 'cold call to bare', round(p50_ms / floor, 2), 'x', '<= 1.2');
}

/** What the platform's processes use of one core while nobody asks for anything; percent. */
async function idleCpu(platform) {
  const before = new Map(platform.processes().map((each) => [each.pid, each.ticks]));
  await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000)); // What is measured is this very wait.
  const after = platform.processes();
  const ticks = after.reduce((sum, each) => sum + each.ticks - (before.get(each.pid) ?? each.ticks), 0);
  return (100 * ticks) / TICKS_PER_SECOND / IDLE_SECONDS;
}

async function idle(platform) {
  const cpu = await idleCpu(platform);
  const now = platform.processes();
  const rss = now.reduce((sum, { rssMb }) => sum + rssMb, 0);
  const pss = now.reduce((sum, { pssMb }) => sum + pssMb, 0);
  report(
    'idle',
    'resident, shared pages counted once',
    round(pss, 0),
    'MB',
    '< 450',
    `sum of RSS ${round(rss, 0)}`,
  );
  const byName = new Map();
  for (const { name, pssMb } of now) byName.set(name, (byName.get(name) ?? 0) + pssMb);
  for (const [name, megabytes] of byName) report('idle', `  of ${name}`, round(megabytes, 0), 'MB');
  report('idle', 'CPU, of one core', round(cpu, 2), '%', '< 2');
}

/** Functions that nobody calls: they are rows, and should cost no more. */
async function functions(api, platform) {
  const none = await idleCpu(platform);
  const { app_id } = await api.call('POST', '/v1/apps', { name: 'idle' });
  for (let made = 0; made < IDLE_FUNCTIONS; made++) await api.makeFunction(app_id, `idle-${made}`);
  const many = await idleCpu(platform);
  const { data: containers } = await api.call('GET', `/v1/containers?app_id=${app_id}`);
  report('functions', 'CPU of one core with none', round(none, 2), '%');
  report('functions', `CPU of one core with ${IDLE_FUNCTIONS} idle`, round(many, 2), '%', '', 'as with none');
  report('functions', `containers of ${IDLE_FUNCTIONS} idle`, containers.length, '', '0');
}

const platform = await createPlatform();
try {
  report('start', 'first start', round((await platform.start()) / 1000, 1), 's');
  if (wants('start')) {
    await platform.stop();
    report('start', 'second start', round((await platform.start()) / 1000, 1), 's', '< 8');
  }
  const api = createApi(platform.credentials());
  const { app_id } = await api.call('POST', '/v1/apps', { name: 'bench' });
  if (wants('idle')) await idle(platform);
  if (wants('functions')) await functions(api, platform);
  if (wants('warm')) await warm(api, app_id);
  const loaded = wants('load') || wants('peers') || wants('map') ? await loadedFunction(api, app_id) : '';
  if (wants('load') || wants('peers')) {
    const rate = await load(api, loaded, platform);
    if (wants('peers')) await peers(rate);
  }
  if (wants('map')) await map(api, loaded, platform);
  if (wants('cold')) await cold(api, app_id, platform);
  await api.close();
} finally {
  await platform.stop();
  platform.remove();
}

const out = join(dirname(import.meta.dirname), 'dist', 'bench.json');
mkdirSync(dirname(out), { recursive: true });
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memory_gib: round(totalmem() / 1024 ** 3, 1) };
writeFileSync(out, `${JSON.stringify({ time: new Date().toISOString(), machine, rows }, null, 2)}\n`);
console.log(`\n${cpus().length} cores, ${machine.memory_gib} GiB. Written to dist/bench.json.`);
// Whatever a library keeps open for later has no later here.
process.exit(0);
