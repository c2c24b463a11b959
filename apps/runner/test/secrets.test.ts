/** Secrets on their way into a real container: there they are, and nowhere else. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { Runtime } from '@berth/contracts/functions/v1/functions';
import { ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import { ensureBaseImages } from '@berth/container-engine';
import { decodeLog } from '@berth/events';
import { testBed, type TestBed } from '@berth/testing';
import { runner } from '../src/service';
import {
  resultOf,
  StandInFunctions,
  StandInScheduler,
  StandInSecrets,
  StandInSync,
  TestFunction,
} from './stand-ins';

const READY = ContainerState.CONTAINER_STATE_READY;
const FAILED = ContainerState.CONTAINER_STATE_FAILED;
const isDockerThere = process.env.DOCKER_HOST || existsSync('/var/run/docker.sock');
const VALUE = 'hunter2-été-🚀';

describe.each(isDockerThere ? ['process', 'docker'] : ['process'])('on %s', (engine) => {
  let bed: TestBed;
  let scheduler: StandInScheduler;
  let functions: StandInFunctions;
  let sync: StandInSync;
  let workspace: StandInSecrets;
  const logged: string[] = [];

  beforeAll(async () => {
    if (engine === 'docker') {
      const cacheDir = join(tmpdir(), 'berth-base-image-cache');
      await ensureBaseImages(new Docker(), { log: () => undefined, cacheDir });
    }
    bed = await testBed();
    scheduler = new StandInScheduler(bed);
    functions = new StandInFunctions();
    sync = new StandInSync();
    workspace = new StandInSecrets();
    for (const { module } of [scheduler, functions, sync]) await bed.start(module);
    bed.bus.nats.subscribe('berth.logs.>', {
      callback: (_, message) => void logged.push(decodeLog(message)!.text),
    });
    await bed.start(runner, { BERTH_ENGINE: engine, DOCKER_HOST: process.env.DOCKER_HOST });
  }, 240_000);
  afterAll(() => bed?.close());

  const PYTHON =
    'import os, subprocess\ndef handler(name):\n  child = subprocess.run(["printenv", name], capture_output=True)\n  return [os.environ.get(name), child.stdout.decode().strip()]';
  const NODE = 'export const handler = (name) => [process.env[name], process.env[name]];';

  test('a container waits for workspace, and has the newest values, in Python and in Node', async () => {
    workspace.secrets.set('main/api', { TOKEN: VALUE, SHARED: 'of api' });
    workspace.secrets.set('main/other', { SHARED: 'of other', OWN: 'not this' });
    const spec = { environment: 'main', secrets: ['api', 'other'], env: { OWN: 'of the function' } };
    const made = [
      new TestFunction(bed, sync, PYTHON, spec),
      new TestFunction(bed, sync, NODE, { ...spec, runtime: Runtime.RUNTIME_NODE }),
    ];
    const started = await Promise.all(made.map((each) => scheduler.assign(each.spec)));
    const running = await bed.start(workspace.module); // Only now.
    for (const [index, { containerId }] of started.entries()) {
      await scheduler.reported(containerId, READY);
      const answer = async (name: string) =>
        resultOf(await functions.outcomeOf((await made[index]!.call([name])).inputId));
      expect(await answer('TOKEN')).toEqual([VALUE, VALUE]);
      expect(await answer('SHARED')).toEqual(['of other', 'of other']);
      expect(await answer('OWN')).toEqual(['of the function', 'of the function']);
    }

    workspace.secrets.set('main/api', { TOKEN: 'changed' });
    const later = new TestFunction(bed, sync, PYTHON, spec);
    const { containerId } = await scheduler.assign(later.spec);
    await scheduler.reported(containerId, READY);
    const { inputId } = await later.call(['TOKEN']);
    expect(resultOf(await functions.outcomeOf(inputId))).toEqual(['changed', 'changed']);

    if (engine === 'docker') {
      const docker = new Docker();
      for (const { containerId } of started) {
        const description = JSON.stringify(await docker.getContainer(containerId).inspect());
        expect(description).toContain('OWN=of the function');
        expect(description).not.toContain(VALUE);
      }
    }
    expect(filesWith(bed.dataDir, VALUE)).toEqual([]);
    expect(logged.join('\n')).not.toContain(VALUE);
    expect(JSON.stringify(scheduler.reports)).not.toContain(VALUE);
    await running[Symbol.asyncDispose]();
  });

  test('a container whose secret is gone fails, and says which', async () => {
    const running = await bed.start(workspace.module);
    const made = new TestFunction(bed, sync, PYTHON, { environment: 'main', secrets: ['gone'] });
    const { containerId } = await scheduler.assign(made.spec);
    const { error } = await scheduler.reported(containerId, FAILED);
    expect(error).toMatchObject({
      type: 'init_failed',
      message: expect.stringContaining('There is no secret gone.'),
    });
    await running[Symbol.asyncDispose]();
  });
});

/** Whatever is below a folder and holds this text: databases, streams, logs, state. */
function filesWith(folder: string, text: string): string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return files
    .map((each) => join(each.parentPath, each.name))
    .filter((path) => readFileSync(path).includes(text));
}
