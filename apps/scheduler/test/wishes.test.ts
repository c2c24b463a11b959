import { SchedulerServiceService, type Container } from '@berth/contracts/scheduler/v1/scheduler';
import { drift, newId } from '@berth/database';
import {
  assignmentSubject,
  consume,
  CONTAINER_EVENTS,
  decodeContainerEvent,
  decodeShortRoom,
  SHORT_ROOM,
} from '@berth/events';
import { createLogger } from '@berth/service-kit';
import { eventually } from '@berth/testing';
import { scheduler } from '../src/service';
import { viewCounted } from '../src/store/container-store';
import { anOwner, aTenant, openPlatform, STATE, type Owner, type Platform } from './platform';

let platform: Platform;
/** The states that events told of each container, as they came. */
const told = new Map<string, number[]>();

beforeAll(async () => {
  platform = await openPlatform(scheduler);
  await consume(
    platform.bed.bus,
    {
      stream: 'BERTH_EVENTS',
      durable: 'test',
      filter: CONTAINER_EVENTS,
      async handle({ data }) {
        const { containerId, state } = decodeContainerEvent(data);
        told.set(containerId, [...(told.get(containerId) ?? []), state]);
      },
    },
    createLogger('test', 'silent'),
  );
});
afterAll(() => platform?.bed.close());

const idsOf = (containers: Container[]) => containers.map(({ containerId }) => containerId);
const statesOf = (containers: Container[]) => containers.map(({ state }) => state);

test('migrations and entities agree', async () => {
  const url = platform.bed.env.BERTH_SCHEDULER_POSTGRES_URL!;
  expect(await drift({ ...scheduler.database!, url })).toEqual([]);
});

test('whose a container is, identity is told as long as it lives', async () => {
  const tenant = aTenant();
  const node = await platform.node(tenant);
  const owner = anOwner(tenant);
  const [container] = await platform.wish(owner, 1, 1);
  const { containerId } = container!;
  const identity = platform.bed.connect(SchedulerServiceService, 'scheduler', 'identity');
  expect(await identity.getContainerOwner({ containerId })).toEqual({
    ...tenant,
    appId: owner.spec.appId,
    functionId: owner.spec.functionId,
  });
  await platform.report(node, containerId, STATE.failed);
  for (const gone of [containerId, newId('ta'), 'nonsense']) {
    await expect(identity.getContainerOwner({ containerId: gone })).rejects.toMatchObject({
      kind: 'not_found',
      field: 'container_id',
    });
  }
});

describe('a wish', () => {
  test('is placed in the same request, and its node is told what to run', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant, { gpus: ['H100'] });
    const owner = anOwner(tenant, { gpu: ['H100'] });
    const [container] = await platform.wish(owner, 1, 1);
    expect(container).toMatchObject({
      state: STATE.assigned,
      nodeId: node.nodeId,
      workspaceId: tenant.workspaceId,
      functionId: owner.spec.functionId,
      version: 1,
      devices: [{ model: 'H100', containerId: container!.containerId }],
      reason: undefined,
    });

    const { assignments } = await platform.runners.listAssignments(node);
    expect(assignments).toEqual([
      {
        containerId: container!.containerId,
        spec: owner.spec,
        devices: container!.devices,
        stop: false,
        wishedAt: container!.createdAt,
        placedAt: expect.any(Date),
      },
    ]);
    const hint = await eventually(async () => {
      const filter = { last_by_subj: assignmentSubject(node.nodeId) };
      return platform.bed.bus.manager.streams.getMessage('BERTH_ASSIGNMENTS', filter);
    });
    expect(hint.json()).toEqual({ container_id: container!.containerId });
    await eventually(() => told.get(container!.containerId)?.includes(STATE.assigned));
  });

  test('grows and shrinks; the same revision again, or an older one, changes nothing', async () => {
    const tenant = aTenant();
    await platform.node(tenant);
    const owner = anOwner(tenant);
    const two = await platform.wish(owner, 2, 5);
    expect(two).toHaveLength(2);
    expect(idsOf(await platform.wish(owner, 2, 5))).toEqual(idsOf(two));
    expect(idsOf(await platform.wish(owner, 4, 5))).toEqual(idsOf(two));
    expect(idsOf(await platform.wish(owner, 0, 4))).toEqual(idsOf(two));
    const three = await platform.wish(owner, 3, 6);
    expect(idsOf(three)).toEqual(expect.arrayContaining(idsOf(two)));
    expect(three).toHaveLength(3);
    expect(await platform.wish(owner, 1, 7)).toHaveLength(1);
    expect(await platform.wish(owner, 0, 8)).toEqual([]);
  });

  test('a smaller one ends those that wait, then those not ready, then the idle as said, then others', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant, { cpu: 4 });
    const owner = anOwner(tenant);
    const five = await platform.wish(owner, 5, 1);
    const waiting = five.find(({ state }) => state === STATE.pending)!;
    const placed = idsOf(five.filter(({ state }) => state === STATE.assigned));
    expect(placed).toHaveLength(4);
    const [a, b, c, starting] = placed as [string, string, string, string];
    for (const id of [a, b, c]) await platform.report(node, id, STATE.ready);
    await platform.report(node, starting, STATE.starting);

    const left = [];
    for (let wanted = 4; wanted >= 0; wanted--) {
      left.push(new Set(idsOf(await platform.wish(owner, wanted, 10 - wanted, [newId('ta'), b, a]))));
    }
    expect(left).toEqual([[a, b, c, starting], [a, b, c], [a, c], [c], []].map((ids) => new Set(ids)));
    expect(await platform.container(waiting.containerId)).toMatchObject({ state: STATE.stopped, nodeId: '' });
    await eventually(() => told.get(waiting.containerId)?.includes(STATE.stopped));

    const { assignments } = await platform.runners.listAssignments(node);
    expect(assignments.map(({ containerId, stop }) => [containerId, stop])).toEqual(
      [a, b, c, starting].sort().map((id) => [id, true]),
    );
    for (const id of placed) {
      await platform.report(node, id, STATE.ready); // Late: it is stopping, and stays so.
      expect((await platform.container(id)).state).toBe(STATE.stopping);
      await platform.report(node, id, STATE.stopped);
      expect(await platform.container(id)).toMatchObject({ state: STATE.stopped, endedAt: expect.any(Date) });
    }
    expect((await platform.runners.listAssignments(node)).assignments).toEqual([]);
    expect((await platform.nodeOf(tenant, node.nodeId)).cpuFree).toBe(4);
  });

  test('what ended is not replaced until the owner says so again', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant);
    const owner = anOwner(tenant);
    const [first] = await platform.wish(owner, 1, 1);
    const error = { type: 'init_failed', message: 'No module named x', traceback: 'main.py, line 1' };
    await platform.report(node, first!.containerId, STATE.failed, { error });
    expect(await platform.container(first!.containerId)).toMatchObject({
      state: STATE.failed,
      error,
      reason: error.message,
      endedAt: expect.any(Date),
    });
    expect(await platform.wish(owner, 1, 1)).toEqual([]);
    const [second] = await platform.wish(owner, 1, 2);
    expect(second!.containerId).not.toBe(first!.containerId);
    await eventually(() => told.get(first!.containerId)?.includes(STATE.failed));
  });

  test('two owners race for one card: one has it, the other waits and says why, and gets it then', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant, { gpus: ['H100'] });
    const owners = [anOwner(tenant, { gpu: ['H100'] }), anOwner(tenant, { gpu: ['H100'] })];
    const short = platform.bed.bus.nats.subscribe(SHORT_ROOM, { max: 1 })[Symbol.asyncIterator]().next();
    const wishes = await Promise.all(owners.map((owner) => platform.wish(owner, 1, 1)));
    const both = wishes.flat();
    expect(decodeShortRoom((await short).value.data)).toEqual({ containers: 0, withCards: 1 });
    expect(statesOf(both).sort()).toEqual([STATE.pending, STATE.assigned]);
    const winner = both.find(({ state }) => state === STATE.assigned)!;
    const waiting = both.find(({ state }) => state === STATE.pending)!;
    expect(waiting.reason).toMatch(
      /^Waits for 1 free H100: 0 of 1 are free on 1 node\. It starts when .+ It is number \d+ in line\.$/,
    );

    await platform.report(node, winner.containerId, STATE.stopped);
    const placed = await eventually(async () => {
      const now = await platform.container(waiting.containerId);
      return now.state === STATE.assigned && now;
    });
    expect(placed).toMatchObject({ nodeId: node.nodeId, reason: undefined, devices: [{ model: 'H100' }] });
  });

  test('a node that comes starts what waits for it', async () => {
    const tenant = aTenant();
    const [waiting] = await platform.wish(anOwner(tenant), 1, 1);
    expect(waiting).toMatchObject({ state: STATE.pending, nodeId: '', devices: [] });
    const node = await platform.node(tenant);
    await eventually(async () => (await platform.container(waiting!.containerId)).nodeId === node.nodeId);
  });

  test('twenty at once never take more than there is', async () => {
    const tenant = aTenant();
    const nodes = await Promise.all(
      [1, 2, 3].map(() => platform.node(tenant, { cpu: 4, memory: 1024, gpus: ['A10', 'A10'] })),
    );
    const owners = Array.from({ length: 20 }, (_, at) =>
      anOwner(tenant, at % 2 ? { gpu: ['A10'] } : { cpu: 1.5 }),
    );
    const all = (await Promise.all(owners.map((owner) => platform.wish(owner, 2, 1)))).flat();
    expect(all).toHaveLength(40);
    const placed = all.filter(({ state }) => state === STATE.assigned);
    const cards = placed.flatMap(({ devices }) => devices.map(({ deviceId }) => deviceId));
    expect(new Set(cards).size).toBe(cards.length);
    let roomy = 0;
    for (const { nodeId } of nodes) {
      const used = await platform.db.query<{ cpu: number; memory: number }>(
        `SELECT sum(millicores)::integer AS cpu, sum(memory_mib)::integer AS memory
           FROM container WHERE node_id = $1 AND ended_at IS NULL`,
        [nodeId],
      );
      expect(used[0]!.cpu).toBeLessThanOrEqual(4000);
      expect(used[0]!.memory).toBeLessThanOrEqual(1024);
      if (used[0]!.cpu <= 2500) roomy++;
    }
    // And it is used: nothing more would have fitted, but on the one node that is kept for the first of those that wait.
    expect(roomy).toBeLessThanOrEqual(1);
  });

  test('twenty words of one owner at once end as the newest says', async () => {
    const tenant = aTenant();
    await platform.node(tenant, { cpu: 64, memory: 65_536 });
    const owner = anOwner(tenant);
    const counts = Array.from({ length: 20 }, (_, at) => (at * 7) % 11);
    await Promise.all(counts.map((count, at) => platform.wish(owner, count, at + 1)));
    expect(await platform.wish(owner, 99, 1)).toHaveLength(counts.at(-1)!);
  });

  const good = anOwner(aTenant());
  test.each<[string, Partial<Owner> & { containers?: number }]>([
    ['spec', { spec: undefined as never }],
    ['spec.organization_id', { spec: { ...good.spec, organizationId: '' } }],
    ['spec.workspace_id', { spec: { ...good.spec, workspaceId: newId('or') } }],
    ['spec.app_id', { spec: { ...good.spec, appId: 'ap-' } }],
    ['spec.function_id', { spec: { ...good.spec, functionId: 'a\u0000' } }],
    ['spec.cpu', { spec: { ...good.spec, cpu: 0 } }],
    ['spec.cpu', { spec: { ...good.spec, cpu: NaN } }],
    ['spec.memory', { spec: { ...good.spec, memory: -1 } }],
    ['spec.gpu', { spec: { ...good.spec, gpu: ['H100:0'] } }],
    ['containers', { containers: -1 }],
    ['owner', { owner: '' }],
  ])('with a bad %s is refused before any effect: %o', async (field, { containers = 1, ...fields }) => {
    const bad = { ...good, ...fields };
    await expect(platform.wish(bad, containers, 1)).rejects.toMatchObject({ kind: 'invalid', field });
    const rows = await platform.db.query('SELECT FROM wish WHERE owner = $1', [bad.owner]);
    expect(rows).toEqual([]);
  });
});

describe('the line', () => {
  test('is numbered in order, and reading it takes rows in proportion to it', async () => {
    const owner = anOwner(aTenant()); // No node is there for it.
    const length = 300;
    const waiting = await platform.wish(owner, length, 1);
    const places = waiting.map(({ reason }) => Number(/It is number (\d+) in line\.$/.exec(reason!)![1]));
    expect(places).toEqual(Array.from({ length }, (_, at) => places[0]! + at));

    // What Postgres does for the answer to a wish, which the placement lock waits for.
    const plans: { Plan: PlanNode }[][] = [];
    const explaining = {
      prepared: async (_: string, statement: string, values: unknown[]) => {
        const explained = `EXPLAIN (ANALYZE, FORMAT JSON) ${statement}`;
        const [row] = await platform.db.query<Record<string, { Plan: PlanNode }[]>>(explained, values);
        plans.push(row!['QUERY PLAN']!);
        return [];
      },
    };
    await viewCounted(explaining as never, owner.owner);
    const rowsRead = rowsOf(plans[0]![0]!.Plan);
    expect(rowsRead).toBeGreaterThan(length);
    expect(rowsRead).toBeLessThan(20 * length);
    await platform.wish(owner, 0, 2);
  });

  interface PlanNode {
    'Actual Rows': number;
    'Actual Loops': number;
    Plans?: PlanNode[];
  }
  const rowsOf = (node: PlanNode): number =>
    (node.Plans ?? []).reduce((sum, each) => sum + rowsOf(each), node['Actual Rows'] * node['Actual Loops']);
});

describe('a report', () => {
  const placed = async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant);
    const [container] = await platform.wish(anOwner(tenant), 1, 1);
    return { tenant, node, id: container!.containerId };
  };

  test('takes a container along its way, with its phases, each event once', async () => {
    const { node, id } = await placed();
    await platform.report(node, id, STATE.starting);
    const startedAt = new Date();
    const phases = ['image', 'create', 'start', 'init'].map((name) => ({ name, startedAt, durationMs: 3.5 }));
    await platform.report(node, id, STATE.ready, { phases });
    await platform.report(node, id, STATE.ready, { phases: [] });
    await platform.report(node, id, STATE.starting);
    const seen = await platform.container(id);
    expect(seen).toMatchObject({ state: STATE.ready, readyAt: expect.any(Date), endedAt: undefined });
    expect(seen.phases.map(({ name }) => name)).toEqual([
      'queued',
      'placed',
      'image',
      'create',
      'start',
      'init',
    ]);
    expect(seen.phases.slice(2)).toEqual(phases);

    await platform.report(node, id, STATE.stopping);
    expect((await platform.runners.listAssignments(node)).assignments[0]!.stop).toBe(true);
    await platform.report(node, id, STATE.stopped);
    await platform.report(node, id, STATE.stopped);
    await platform.report(node, id, STATE.failed);
    expect((await platform.container(id)).state).toBe(STATE.stopped);
    const way = [STATE.assigned, STATE.starting, STATE.ready, STATE.stopping, STATE.stopped];
    await eventually(() => told.get(id)?.includes(STATE.stopped));
    expect(told.get(id)!.sort()).toEqual(way);
  });

  test('of ten that a container is ready, one is recorded', async () => {
    const { node, id } = await placed();
    await Promise.all(Array.from({ length: 10 }, () => platform.report(node, id, STATE.ready)));
    await eventually(() => told.get(id)?.includes(STATE.ready));
    expect(told.get(id)!.filter((state) => state === STATE.ready)).toHaveLength(1);
  });

  test('that it failed, without a word why, gets one', async () => {
    const { node, id } = await placed();
    await platform.report(node, id, STATE.failed);
    expect((await platform.container(id)).error).toMatchObject({ type: 'infrastructure' });
  });

  test('of a failure keeps what user code said, however odd and long', async () => {
    const { node, id } = await placed();
    const error = { type: 'init_failed', message: 'a\u0000b', traceback: 'x'.repeat(2_000_000) };
    await platform.report(node, id, STATE.failed, { error });
    const seen = await platform.container(id);
    expect(seen.error).toEqual({ ...error, message: 'a\ufffdb', traceback: 'x'.repeat(64 * 1024) });
    await eventually(() => told.get(id)?.includes(STATE.failed)); // The event is not too large to go out.
  });

  test.each([
    [{ name: 'A\u0000', durationMs: 1 }],
    [{ name: 'image', durationMs: NaN }],
    [{ name: 'image', durationMs: -1 }],
  ])('with the phase %o is refused', async (phase) => {
    const { node, id } = await placed();
    await expect(platform.report(node, id, STATE.ready, { phases: [phase] })).rejects.toMatchObject({
      kind: 'invalid',
      field: 'phases',
    });
  });

  test('on a container of another node, or none, is NOT_FOUND', async () => {
    const { tenant, node, id } = await placed();
    const elsewhere = await platform.node(tenant);
    const failure = { kind: 'not_found', field: 'container_id' };
    await expect(platform.report(elsewhere, id, STATE.stopped)).rejects.toMatchObject(failure);
    for (const unknown of [newId('ta'), '', 'ta-', 'a\u0000']) {
      await expect(platform.report(node, unknown, STATE.ready)).rejects.toMatchObject(failure);
    }
    expect((await platform.container(id)).state).toBe(STATE.assigned);
  });

  test('of another incarnation is told to register again', async () => {
    const { node, id } = await placed();
    const failure = { kind: 'precondition' };
    const stale = { ...node, incarnation: 'older' };
    await expect(platform.report(stale, id, STATE.ready)).rejects.toMatchObject(failure);
    await expect(platform.runners.listAssignments(stale)).rejects.toMatchObject(failure);
    await expect(platform.runners.heartbeat(stale)).rejects.toMatchObject(failure);
    for (const nodeId of [newId('no'), '', 'a\u0000']) {
      const unknown = { ...node, nodeId };
      await expect(platform.report(unknown, id, STATE.ready)).rejects.toMatchObject(failure);
      await expect(platform.runners.listAssignments(unknown)).rejects.toMatchObject(failure);
      await expect(platform.runners.heartbeat(unknown)).rejects.toMatchObject(failure);
    }
    expect((await platform.container(id)).state).toBe(STATE.assigned);
  });

  test.each(['pending', 'assigned', 'lost'] as const)('%s is not a runner’s to say', async (state) => {
    const { node, id } = await placed();
    await expect(platform.report(node, id, STATE[state])).rejects.toMatchObject({
      kind: 'invalid',
      field: 'state',
    });
  });
});

describe('a list of containers', () => {
  test('has the workspace in pages, newest first, and those that ended when asked', async () => {
    const tenant = aTenant();
    const caller = await platform.bed.caller(tenant);
    const node = await platform.node(tenant);
    const made: string[] = [];
    const owner = anOwner(tenant);
    for (let n = 1; n <= 5; n++) {
      const now = await platform.wish(owner, n, n);
      made.unshift(idsOf(now).find((id) => !made.includes(id))!);
    }
    const ended = made[0]!;
    await platform.wish(anOwner(tenant), 1, 1);
    await platform.wish(owner, 4, 6); // One of them waits, so it ends at once.
    const list = (cursor: string, fields: object = {}) =>
      platform.gateway.listContainers(
        { appId: '', functionId: owner.spec.functionId, all: true, limit: 2, cursor, ...fields },
        { for: caller },
      );
    const seen = [];
    let cursor = '';
    do {
      const page = await list(cursor);
      seen.push(...idsOf(page.data));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual(made);
    const live = (await list('', { all: false, limit: 100 })).data;
    expect(idsOf(live)).toEqual(made.filter((id) => id !== ended));
    expect((await list('', { functionId: '', appId: owner.spec.appId, limit: 100 })).data).toHaveLength(5);
    expect((await list('', { functionId: '', limit: 100 })).data).toHaveLength(6);
    for (const functionId of [newId('fu'), 'x', 'a\u0000'])
      expect((await list('', { functionId })).data).toEqual([]);
    await expect(list('', { limit: 101 })).rejects.toMatchObject({ kind: 'invalid', field: 'limit' });
    await expect(list('%')).rejects.toMatchObject({ kind: 'invalid', field: 'cursor' });
    expect(node.nodeId).toBe(live.at(-1)!.nodeId);
  });

  test('of another workspace has none of these, whatever it names; a service sees any', async () => {
    const tenant = aTenant();
    await platform.node(tenant);
    const owner = anOwner(tenant);
    const [container] = await platform.wish(owner, 1, 1);
    const request = { appId: '', functionId: owner.spec.functionId, all: true, limit: 0, cursor: '' };
    for (const foreign of [aTenant(), aTenant({ organizationId: tenant.organizationId })]) {
      const caller = await platform.bed.caller(foreign);
      expect((await platform.gateway.listContainers(request, { for: caller })).data).toEqual([]);
    }
    expect(idsOf((await platform.functions.listContainers(request)).data)).toEqual([container!.containerId]);
  });

  test('a spec travels as it was given, secrets of the environment to its node alone', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant);
    const owner = anOwner(tenant, { env: { TOKEN: 'xyzzy' } });
    await platform.wish(owner, 1, 1);
    const { assignments } = await platform.runners.listAssignments(node);
    expect(assignments[0]!.spec).toEqual(owner.spec);
    const caller = await platform.bed.caller(tenant);
    const shown = await platform.gateway.listContainers(
      { appId: '', functionId: '', all: true, limit: 0, cursor: '' },
      { for: caller },
    );
    expect(JSON.stringify(shown)).not.toContain('xyzzy');
  });
});
