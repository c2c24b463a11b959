// Builds everything that runs: contracts from proto/, then one bundle per service and for the command line.
//   node tools/build.mjs               all of it
//   node tools/build.mjs --contracts   only the generated contracts
//   node tools/build.mjs --app runner  only that app's bundles, from contracts that are there
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fingerprint } from './build-stamp.mjs';
import { root } from './install.mjs';

const dist = join(root, 'dist');

/** What each app turns into processes: `dist/<app>/<name>.js` from `apps/<app>/<source>`. */
export async function entryPoints() {
  const apps = (await readdir(join(root, 'apps'), { withFileTypes: true })).filter((e) => e.isDirectory());
  const candidates = apps.flatMap(({ name }) => [
    [`${name}/main`, `apps/${name}/src/main.ts`],
    ...(name === 'berth'
      ? [
          ['berth/cli', 'apps/berth/src/cli.ts'],
          ['berth/services', 'apps/berth/src/services.ts'],
          ['berth/up', 'apps/berth/src/up/main.ts'],
          ['berth/step', 'apps/berth/src/up/step.ts'],
        ]
      : []),
  ]);
  return candidates
    .filter(([, source]) => existsSync(join(root, source)))
    .map(([out, source]) => ({ out, in: join(root, source) }));
}

/** Generates libs/contracts, unless it was generated from the same protos with the same tools. */
function generateContracts() {
  const stamp = join(root, 'libs/contracts/src/generated/.stamp');
  const now = fingerprint(['proto', 'buf.yaml', 'buf.gen.yaml', 'tools/generate.mjs', 'package-lock.json']);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;
  const { status } = spawnSync(process.execPath, [join(root, 'tools/generate.mjs')], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(stamp, now);
}

async function bundle(app) {
  const entries = (await entryPoints()).filter(({ out }) => !app || out.startsWith(`${app}/`));
  if (entries.length === 0) return;
  await build({
    absWorkingDir: root,
    entryPoints: entries,
    outdir: dist,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    packages: 'external',
    sourcemap: true,
    // Entities and errors are known by their class names, also where two services in one bundle share one.
    keepNames: true,
    tsconfig: join(root, 'tsconfig.json'),
    logLevel: 'warning',
  });
}

/** The SDK as one file, for what runs in Node containers and for the command line, which asks files what they hold. */
async function bundleSdk() {
  await build({
    absWorkingDir: root,
    entryPoints: [join(root, 'libs/sdk/src/index.ts')],
    outfile: join(dist, 'worker/lib/sdk.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // undici is CommonJS and asks for Node's own modules as it finds them.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    tsconfig: join(root, 'tsconfig.json'),
    logLevel: 'warning',
  });
  await cp(join(root, 'libs/sdk/node/describe.mjs'), join(dist, 'worker/lib/describe.mjs'));
}

/** The worker files and the Python module run inside containers as they are: copied, never bundled. */
async function copyWorkers() {
  const source = join(root, 'libs/worker-protocol/worker');
  if (!existsSync(source)) return;
  const module = join(root, 'libs/python/berth');
  const target = join(dist, 'worker');
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  const options = { recursive: true, filter: (path) => !path.includes('__pycache__') };
  await cp(source, target, options);
  await cp(module, join(target, 'lib/berth'), options);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { contracts: { type: 'boolean' }, app: { type: 'string' } } });
  const started = performance.now();
  if (!values.app) generateContracts();
  if (!values.contracts) await Promise.all([bundle(values.app), copyWorkers().then(bundleSdk)]);
  console.log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
