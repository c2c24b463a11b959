/** What becomes of containers that their engine does not end: they run on, so they count on. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Runtime } from '@berth/contracts/functions/v1/functions';
import {
  Assignment,
  ContainerSpec,
  ContainerState,
  type Device,
  type ReportContainerRequest,
} from '@berth/contracts/scheduler/v1/scheduler';
import { openEngine, type ContainerEngine } from '@berth/container-engine';
import { newId } from '@berth/database';
import { createLogger } from '@berth/service-kit';
import { eventually } from '@berth/testing';
import { Containers } from '../src/containers/containers';
import { Reporter } from '../src/containers/reporter';
import { openRunFolders } from '../src/containers/run-folders';
import { placeWorkerFiles } from '../src/containers/worker-files';
import { Reconciler } from '../src/loops/reconcile';
import { openNodeFile } from '../src/node/node-file';
import { UsageBook } from '../src/usage/usage-book';

const log = createLogger('runner', 'silent');
const READY = ContainerState.CONTAINER_STATE_READY;
const STOPPED = ContainerState.CONTAINER_STATE_STOPPED;

/** A real engine that kills, removes and tells nothing of what it has when it gets stuck, as a daemon that hangs. */
function stubborn(engine: ContainerEngine) {
  const made = new Set<string>();
  let stuck = new Set<string>();
  const state = {
    refused: 0,
    getStuck: () => (stuck = new Set(made)),
    recover: () => stuck.clear(),
  };
  const answer = (id: string) => {
    if (!stuck.has(id)) return;
    state.refused++;
    throw new Error('the engine does not answer');
  };
  const changed: Partial<ContainerEngine> = {
    async create(spec) {
      const id = await engine.create(spec);
      made.add(id);
      return id;
    },
    async kill(id) {
      answer(id);
      await engine.kill(id);
    },
    async remove(id) {
      answer(id);
      await engine.remove(id);
    },
    async wait(id) {
      answer(id);
      const exit = await engine.wait(id);
      answer(id); // Its line broke meanwhile.
      return exit;
    },
  };
  const facade = new Proxy(engine, {
    get(target, name) {
      const found: unknown = Reflect.get({ ...changed }, name) ?? Reflect.get(target, name);
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
  return { engine: facade, state };
}

let folder: string;
let real: ContainerEngine;
let engine: ReturnType<typeof stubborn>;
let usage: UsageBook;
let reporter: Reporter;
let reports: ReportContainerRequest[];
let containers: Containers;
let sourcesHeld: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-stubborn-'));
  const node = openNodeFile(folder);
  const source = join(folder, 'source');
  mkdirSync(source);
  writeFileSync(join(source, 'main.py'), 'def handler():\n  pass\n');
  real = await openEngine('process', { stateDir: join(folder, 'engine'), owner: node.owner });
  engine = stubborn(real);
  usage = new UsageBook(
    join(folder, 'usage'),
    { jetstream: { publish: async () => ({}) as never } } as never,
    log,
  );
  reports = [];
  sourcesHeld = 0;
  const identity = () => ({ nodeId: 'no-1', incarnation: 'one' });
  reporter = new Reporter(
    { reportContainer: async (report) => (reports.push(report as ReportContainerRequest), {}) },
    identity,
    log,
  );
  const openSlot = () => {
    const closed = Promise.withResolvers<undefined>();
    return { pull: () => closed.promise, close: async () => closed.resolve(undefined) };
  };
  containers = new Containers(
    {
      engine: engine.engine,
      sources: {
        hold: () => (sourcesHeld++, { folder: Promise.resolve(source), release: () => sourcesHeld-- }),
      },
      secrets: { of: async () => ({}) },
      volumes: {
        open: async () => ({
          mounts: [],
          env: {},
          user: undefined,
          begin: () => undefined,
          end: async () => undefined,
        }),
      } as never,
      images: {
        hold: (_, image) => ({
          reference: image,
          mayCreate: async () => {},
          ensure: async () => {},
          release() {},
        }),
      },
      runFolders: await openRunFolders(folder, node.owner),
      workerFiles: await placeWorkerFiles(folder),
      queue: { openSlot } as never,
      line: { hasRoom: true } as never,
      reporter,
      usage,
      bus: {
        nats: { publish: () => undefined, flush: async () => undefined, isClosed: () => true },
      } as never,
      api: {} as never,
      functions: undefined as never,
      nodeId: () => 'no-1',
      frozenSeconds: 15,
      gateways: {} as never,
      log,
    },
    node,
    () => undefined,
  );
});
afterEach(async () => {
  engine.state.recover();
  await containers.endAll(0);
  await reporter.close(1000);
  for (const { id } of await real.list()) await real.remove(id);
  await usage[Symbol.asyncDispose]();
  await real[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const said = (containerId: string, state: ContainerState) =>
  reports.some((each) => each.containerId === containerId && each.state === state);

const anAssignment = (devices: Partial<Device>[] = []): Assignment =>
  Assignment.fromPartial({
    containerId: newId('ta'),
    spec: ContainerSpec.fromPartial({
      organizationId: 'or-1',
      workspaceId: 'wo-1',
      functionId: 'fu-1',
      version: 1,
      runtime: Runtime.RUNTIME_PYTHON,
      handler: 'main:handler',
      cpu: 1,
      memory: 256,
      timeout: 30,
      slots: 1,
    }),
    devices,
  });

async function aContainer(): Promise<string> {
  const assignment = anAssignment();
  containers.begin(assignment);
  await eventually(() => said(assignment.containerId, READY));
  return assignment.containerId;
}

test('a container that the engine does not end is alive and billed until it does', async () => {
  const id = await aContainer();
  engine.state.getStuck();
  containers.get(id)!.kill('unwanted');
  await eventually(() => engine.state.refused > 5); // Killed and removed, and that more than once.
  expect(containers.alive).toContain(id);
  expect(said(id, STOPPED)).toBe(false);
  expect(usage.openContainers()).toMatchObject([{ containerId: id }]);
  expect(sourcesHeld).toBe(1); // It may still read it.

  engine.state.recover();
  await eventually(() => said(id, STOPPED));
  expect(containers.alive).not.toContain(id);
  expect(usage.openContainers()).toEqual([]);
  expect(await real.list()).toEqual([]);
  expect(sourcesHeld).toBe(0);
});

test('a runner that stops leaves it to its next start, with its usage open', async () => {
  const id = await aContainer();
  engine.state.getStuck();
  await containers.endAll(0);
  expect(said(id, STOPPED)).toBe(false);
  expect(usage.openContainers()).toMatchObject([{ containerId: id }]);
  expect(existsSync(join(folder, 'usage', `${id}.json`))).toBe(true);
  expect(await real.list()).toMatchObject([{ name: id }]);
});

describe('a card that the scheduler gives to another', () => {
  let wanted: Assignment[];
  let reconciler: Reconciler;
  const assign = (assignments: Assignment[]) => {
    wanted = assignments;
    reconciler.wake();
  };

  beforeEach(() => {
    reconciler = new Reconciler(
      { listAssignments: async () => ({ assignments: wanted }) },
      undefined as never, // Its hints are not heard: the test wakes it.
      containers,
      () => ({ nodeId: 'no-1', incarnation: 'one' }),
      () => undefined,
      log,
    );
  });
  afterEach(() => reconciler.stop());

  test('is its own only when the container before it is gone; others need not wait', async () => {
    const [before, after] = [anAssignment([{ index: 0 }]), anAssignment([{ index: 0 }])];
    const [beside, without] = [anAssignment([{ index: 1 }]), anAssignment()];
    assign([before]);
    await eventually(() => said(before.containerId, READY));
    engine.state.getStuck();
    assign([after, beside, without]);
    await eventually(() => said(beside.containerId, READY) && said(without.containerId, READY));
    assign([after, beside, without]); // Looking again changes nothing.
    await eventually(() => engine.state.refused > 5);
    expect(containers.alive).toContain(before.containerId);
    expect(containers.alive).not.toContain(after.containerId);

    engine.state.recover();
    await eventually(() => said(after.containerId, READY));
    const order = reports.filter(({ containerId }) =>
      [before, after].some((a) => a.containerId === containerId),
    );
    expect(order.map(({ containerId, state }) => [containerId === before.containerId, state])).toEqual([
      [true, ContainerState.CONTAINER_STATE_STARTING],
      [true, READY],
      [true, STOPPED],
      [false, ContainerState.CONTAINER_STATE_STARTING],
      [false, READY],
    ]);
  });
});
