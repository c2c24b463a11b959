/** A container in which nothing can run any more is replaced, and its inputs run again; one that is at work is left alone. */
import type { Berth, FunctionCall } from '@berth/sdk';
import { eventually } from '@berth/testing';
import Docker from 'dockerode';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(240_000);

const FROZEN_SECONDS = 1;
const SOURCE = `
import ctypes, os, signal, time
HERE = os.environ["BERTH_CONTAINER_ID"]
def run(what, argument=None):
    if what == "here": return HERE
    if what == "pid": return os.getpid()
    while what == "stop": os.kill(os.getpid(), signal.SIGSTOP) # The thread may get a little further.
    if what == "native": ctypes.PyDLL(None).sleep(argument) # With the interpreter's lock.
    while what == "elsewhere" and HERE == argument: time.sleep(0.05)
    return what`;

const engines = process.env.DOCKER_HOST ? (['docker', 'process'] as const) : (['process'] as const);

describe.each(engines)('engine %s', (engine) => {
  let platform: Platform;
  let berth: Berth;
  let functionId: string;
  beforeAll(async () => {
    const env = { BERTH_ENGINE: engine, BERTH_FROZEN_SECONDS: String(FROZEN_SECONDS) };
    platform = await new Platform(env).start();
    berth = platform.berth();
    const app = await berth.apps.create('frozen');
    const options = { max_concurrent_inputs: 2, max_containers: 1, scaledown_window: 60 };
    functionId = (await makeFunction(berth, app.app_id, python(SOURCE, options))).function_id;
  });
  afterAll(() => platform?.close());

  const spawn = (what: string, argument?: unknown) =>
    berth.functions.spawn(functionId, { args: [what, argument ?? null] });
  const status = async ({ call_id }: FunctionCall) => (await berth.calls.get(call_id)).status;
  const ended = ({ call_id }: FunctionCall) =>
    eventually(async () => {
      const call = await berth.calls.get(call_id);
      return call.status !== 'pending' && call.status !== 'running' && call;
    }, 60_000);
  /** What somebody does to a container from outside. */
  const freeze = async () => {
    if (engine === 'process') {
      process.kill(await berth.call<number>(functionId, { args: ['pid'] }), 'SIGSTOP');
      return;
    }
    const docker = new Docker();
    const filters = { label: [`berth.function=${functionId}`] };
    const [found] = await docker.listContainers({ filters });
    await docker.getContainer(found!.Id).pause();
  };

  test('what ran in a container that was frozen runs again, and has one outcome', async () => {
    const call = await spawn('elsewhere', await berth.call(functionId, { args: ['here'] }));
    await eventually(async () => (await status(call)) === 'running');
    await freeze();
    const later = await spawn('later');
    expect(await ended(call)).toMatchObject({ status: 'success', result: 'elsewhere', attempts: 2 });
    expect(await ended(later)).toMatchObject({ status: 'success', result: 'later' });
  });

  test('an input that freezes its container each time fails, and those beside it do not', async () => {
    const [stops, beside] = [await spawn('stop'), await spawn('beside')];
    expect(await ended(beside)).toMatchObject({ status: 'success', result: 'beside' });
    const failed = await ended(stops);
    expect(failed).toMatchObject({ status: 'failure', error: { type: 'container_exited' } });
    expect(failed.error!.message).toContain('stopped');
  });

  test('native code that keeps the worker from answering for longer is at work', async () => {
    const seconds = FROZEN_SECONDS * 4;
    expect(await ended(await spawn('native', seconds))).toMatchObject({ result: 'native', attempts: 1 });
  });
});
