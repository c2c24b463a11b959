// npm test: everything CI runs. Its last line is `N passed, N failed`, counted from jest's own result.
//   npm test                          all checks, then all tests
//   npm test -- --only libs/database  only the tests whose path matches, after a build, without the other checks
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkNode, ensureInstalled, pinnedNode, root } from './install.mjs';
import { Refusal, runTool } from './progress.mjs';
import { dockerHost, engineAnswers, ensureRequirements, findProgram } from './requirements.mjs';

const bin = (name) => join(root, 'node_modules', '.bin', name);

/** The contract as of the last release; `node tools/proto-baseline.mjs` writes it, deliberately and reviewed. */
const baseline = 'proto/baseline.binpb.gz';

const CHECKS = [
  ['format', () => [bin('prettier'), '--check', '--log-level=warn', '.']],
  // Without a project graph the module boundaries would be skipped with a warning.
  ['project graph', () => [bin('nx'), 'show', 'projects']],
  ['lint', () => [bin('eslint'), '--no-error-on-unmatched-pattern', '.']],
  ['buf lint', () => [bin('buf'), 'lint']],
  [
    'buf breaking',
    () =>
      existsSync(join(root, baseline))
        ? [bin('buf'), 'breaking', '--against', baseline]
        : `there is no ${baseline} yet: node tools/proto-baseline.mjs writes it at a release`,
  ],
  ['build', () => [pinnedNode, join(root, 'tools/build.mjs')]],
  ['typecheck', () => [bin('tsc'), '--noEmit', '-p', 'tsconfig.json']],
];

const heading = (text) => console.log(`\n=== ${text}`);

function run(command, env = process.env) {
  const [program, ...args] = command;
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', env });
  if (error) console.error(error.message);
  return status ?? 1;
}

/** Runs one check; a check that cannot run says why, in place of its command. */
function check([name, command]) {
  heading(name);
  const started = performance.now();
  const what = command();
  if (typeof what === 'string') {
    console.log(`skipped: ${what}`);
    return undefined;
  }
  const code = run(what);
  console.log(
    `${code === 0 ? 'ok' : `failed with ${code}`} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
  );
  return code === 0 ? undefined : name;
}

/**
 * The environment and the prefix of the command that tests run under: a Docker Engine that answers, or one of our
 * own for as long as the tests take.
 */
async function infrastructure() {
  const env = {
    ...process.env,
    NX_DAEMON: 'false',
    PATH: [join(root, 'node_modules/.bin'), process.env.PATH, dirname(findProgram('nats-server'))].join(
      delimiter,
    ),
  };
  if (await engineAnswers(dockerHost())) return { env: { ...env, DOCKER_HOST: dockerHost() }, prefix: [] };
  console.log('no Docker Engine answers: starting one for the tests');
  return { env, prefix: [pinnedNode, join(root, 'dist/berth/up.js'), 'with-dockerd', '--'] };
}

/** Base images are built once; the tool finds out by itself that they are there. */
const images = join(root, 'tools/images/build.mjs');

/** Counts jest's result; a file that could not even be loaded is a failure of its own. */
export function tally(result) {
  const broken = result.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  return { passed: result.numPassedTests, failed: result.numFailedTests + broken.length };
}

async function jest(only, env, prefix) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-jest-'));
  const output = join(folder, 'result.json');
  try {
    const code = run(
      [
        ...prefix,
        pinnedNode,
        join(root, 'node_modules/jest/bin/jest.js'),
        '--ci',
        '--maxWorkers=2',
        '--json',
        `--outputFile=${output}`,
        '--passWithNoTests',
        ...only,
      ],
      env,
    );
    const counts = existsSync(output)
      ? tally(JSON.parse(readFileSync(output, 'utf8')))
      : { passed: 0, failed: 1 };
    return { code, ...counts };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await runTool(async () => {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true } } });
  checkNode();
  heading('install');
  await ensureInstalled();
  await ensureRequirements();
  process.env.PATH = [join(root, 'node_modules/.bin'), process.env.PATH].join(delimiter);
  console.log(`node ${spawnSync(pinnedNode, ['--version'], { encoding: 'utf8' }).stdout.trim()}`);

  const wanted = values.only ? CHECKS.filter(([name]) => name === 'build') : CHECKS;
  const failedChecks = wanted.map(check).filter(Boolean);
  if (failedChecks.includes('build'))
    throw new Refusal('The build failed, so no test can run.\n0 passed, 1 failed');

  heading('infrastructure');
  const { env, prefix } = await infrastructure();
  if (existsSync(images) && run([...prefix, pinnedNode, images], env) !== 0) failedChecks.push('images');

  heading('tests');
  const { code, passed, failed } = await jest(values.only ?? [], env, prefix);
  if (failedChecks.length > 0) console.log(`\nchecks that failed: ${failedChecks.join(', ')}`);
  console.log(`${passed} passed, ${failed} failed`);
  return code === 0 && failed === 0 && failedChecks.length === 0 ? 0 : 1;
});
