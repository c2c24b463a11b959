import { RegisterNodeRequest } from '@berth/contracts/scheduler/v1/scheduler';
import { newId } from '@berth/database';
import { eventually } from '@berth/testing';
import { KEPT_MS, SILENCE_LIMIT_MS, startLimitMs, stopLimitMs } from '../src/domain/limits';
import { schedulerWith } from '../src/service';
import { anOwner, aTenant, openPlatform, STATE, type Platform, type Runner } from './platform';

/** Time that only the tests move, and loops that look every few milliseconds. */
let now = Date.now();
let platform: Platform;

beforeAll(async () => {
  platform = await openPlatform(schedulerWith({ clock: () => new Date(now), everyMs: 20 }));
});
afterAll(() => platform?.bed.close());

/** Lets time pass in small steps, as it does, until `check` holds; `beating` runners are heard on the way. */
const passUntil = (check: () => Promise<unknown>, ...beating: Runner[]) =>
  eventually(async () => {
    now += 400;
    for (const runner of beating) await platform.runners.heartbeat(runner);
    return check();
  });
const stateOf = async (id: string) => (await platform.container(id)).state;
const one = async (...args: Parameters<typeof anOwner>) => {
  const [container] = await platform.wish(anOwner(...args), 1, 1);
  return container!.containerId;
};

describe('a node that falls silent', () => {
  test('is down; its containers are lost, its cards free, and it has to register again', async () => {
    const tenant = aTenant();
    const [silent, alive] = [
      await platform.node(tenant, { gpus: ['H100'] }),
      await platform.node(tenant, { name: 'alive' }),
    ];
    const lost = await one(tenant, { gpu: ['H100'] });
    const kept = await one(tenant);
    expect((await platform.container(kept)).nodeId).toBe(alive.nodeId);
    await platform.report(silent, lost, STATE.ready);
    const waiting = await one(tenant, { gpu: ['H100'] });
    await platform.report(alive, kept, STATE.ready);

    await passUntil(async () => (await stateOf(lost)) === STATE.lost, alive);
    expect(await platform.container(lost)).toMatchObject({
      reason: 'Its node a node fell silent.',
      endedAt: expect.any(Date),
      devices: [],
    });
    expect(await stateOf(kept)).toBe(STATE.ready);
    expect(await platform.nodeOf(tenant, silent.nodeId)).toMatchObject({
      state: 2,
      containers: 0,
      cpuFree: 0,
    });
    expect(await stateOf(waiting)).toBe(STATE.pending); // A free card of a node that is down is none.
    for (const ask of [platform.runners.heartbeat(silent), platform.runners.listAssignments(silent)]) {
      await expect(ask).rejects.toMatchObject({ kind: 'precondition' });
    }
    await platform.report(silent, lost, STATE.ready); // It still runs it, and does not know better.
    expect(await stateOf(lost)).toBe(STATE.lost);

    await platform.node(tenant, { ...silent, gpus: ['H100'] });
    await eventually(async () => (await stateOf(waiting)) === STATE.assigned);
    const { assignments } = await platform.runners.listAssignments(silent);
    expect(assignments.map(({ containerId }) => containerId)).toEqual([waiting]);
  });

  test('a scheduler that was away heard nobody, and judges nobody for it', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant, { gpus: ['H100'] });
    const container = await one(tenant, { gpu: ['H100'] });
    await platform.report(node, container, STATE.ready);
    const waiting = await one(tenant, { gpu: ['H100'] });

    now += 10 * SILENCE_LIMIT_MS; // Suspended, as it seems: nobody was heard in between.
    const passed = now + SILENCE_LIMIT_MS / 2;
    await passUntil(async () => now > passed);
    expect(await stateOf(container)).toBe(STATE.ready);
    await platform.runners.heartbeat(node);
    await platform.report(node, container, STATE.stopped);
    await eventually(async () => (await stateOf(waiting)) === STATE.assigned);
  });
});

describe('a node that registers', () => {
  test('with a new incarnation has lost its containers, and lets go of their cards', async () => {
    const tenant = aTenant();
    const first = await platform.node(tenant, { gpus: ['H100', 'H100'] });
    const before = await one(tenant, { gpu: ['H100:2'] });
    const again = await platform.node(tenant, { nodeId: first.nodeId, gpus: ['H100'] });
    expect(again.nodeId).toBe(first.nodeId);
    expect(await platform.container(before)).toMatchObject({
      state: STATE.lost,
      reason: 'The runner of its node a node was started again.',
    });
    const node = await platform.nodeOf(tenant, first.nodeId);
    expect(node.devices.map(({ index, containerId }) => [index, containerId])).toEqual([[0, '']]);
    expect((await platform.runners.listAssignments(again)).assignments).toEqual([]);
    await expect(platform.runners.heartbeat(first)).rejects.toMatchObject({ kind: 'precondition' });
  });

  test('with the same incarnation keeps them, and a card that vanished for as long as it is held', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant, { gpus: ['H100', 'H100'] });
    const container = await one(tenant, { gpu: ['H100:2'] });
    await platform.report(node, container, STATE.ready);
    await platform.node(tenant, { ...node, gpus: ['H100'] });
    expect(await stateOf(container)).toBe(STATE.ready);
    expect((await platform.nodeOf(tenant, node.nodeId)).devices).toHaveLength(2);

    await platform.report(node, container, STATE.stopped);
    expect((await platform.nodeOf(tenant, node.nodeId)).devices).toHaveLength(1);
    await platform.node(tenant, { ...node, gpus: ['H100'] });
    expect(await platform.db.query('SELECT FROM device WHERE node_id = $1', [node.nodeId])).toHaveLength(1);
  });

  test('that brings an id which is not known here keeps it', async () => {
    const nodeId = newId('no');
    expect((await platform.node(aTenant(), { nodeId })).nodeId).toBe(nodeId);
  });

  test.each([
    ['node_id', { nodeId: 'x' }],
    ['incarnation', { incarnation: '' }],
    ['name', { name: 'a\nb' }],
    ['organization_id', { organizationId: 'x' }],
    ['engine', { engine: 'vm' }],
    ['cpu', { cpu: 0 }],
    ['cpu', { cpu: Infinity }],
    ['memory', { memory: 0 }],
    [
      'devices',
      {
        devices: [
          { index: 0, model: 'A10' },
          { index: 0, model: 'A10' },
        ],
      },
    ],
    ['devices', { devices: [{ index: -1, model: 'A10' }] }],
    ['devices.model', { devices: [{ index: 0, model: '' }] }],
  ])('with a bad %s is refused: %o', async (field, fields) => {
    const good = { incarnation: 'i', name: 'n', engine: 'docker', cpu: 1, memory: 1, ...fields };
    await expect(platform.runners.registerNode(RegisterNodeRequest.fromPartial(good))).rejects.toMatchObject({
      kind: 'invalid',
      field,
    });
  });
});

describe('a list of nodes', () => {
  test('says what is free, and whose cards are taken without saying by whom', async () => {
    const tenant = aTenant();
    const sibling = aTenant({ organizationId: tenant.organizationId });
    const node = await platform.node(tenant, { cpu: 4, memory: 1024, gpus: ['H100', 'A10'] });
    const mine = await one(tenant, { gpu: ['H100'], cpu: 1.5 });
    const theirs = await one(sibling, { gpu: ['A10'] });

    const seen = await platform.nodeOf(tenant, node.nodeId);
    expect(seen).toMatchObject({
      state: 1,
      cpu: 4,
      cpuFree: 1.5,
      memory: 1024,
      memoryFree: 512,
      containers: 2,
    });
    expect(seen.lastHeartbeatAt).toEqual(expect.any(Date));
    expect(seen.devices.map(({ containerId }) => containerId)).toEqual([mine, 'in use']);
    const other = await platform.nodeOf(sibling, node.nodeId);
    expect(other.devices.map(({ containerId }) => containerId)).toEqual(['in use', theirs]);
    const key = await platform.bed.caller({
      organizationId: tenant.organizationId,
      workspaceId: '',
      scope: 'organization',
    });
    const whole = (await platform.gateway.listNodes({}, { for: key })).data;
    expect(whole[0]!.devices.map(({ containerId }) => containerId)).toEqual([mine, theirs]);
  });

  test('has the own and the shared ones, never those of another organization', async () => {
    const [own, foreign] = [aTenant(), aTenant()];
    const node = await platform.node(own, { gpus: ['H100'] });
    const shared = await platform.node(undefined, { gpus: ['SHARED'], cpu: 1, memory: 256 });
    await platform.nodeOf(own, node.nodeId);
    await expect(platform.nodeOf(foreign, node.nodeId)).rejects.toThrow('no node');
    const holder = await one(own, { gpu: ['SHARED'] });
    const seen = await platform.nodeOf(foreign, shared.nodeId);
    expect(seen.devices).toMatchObject([{ containerId: 'in use' }]);
    expect(JSON.stringify(seen)).not.toContain(holder);
  });
});

describe('nothing takes for ever', () => {
  test('what never gets ready fails, and its node has no such assignment any more', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant);
    const [silent, starting, ready] = [await one(tenant), await one(tenant), await one(tenant)];
    const slow = await one(tenant, { startupTimeout: 3600 });
    await platform.report(node, starting, STATE.starting);
    await platform.report(node, ready, STATE.ready);
    now += startLimitMs(60) + 1;
    await platform.runners.heartbeat(node);
    for (const id of [silent, starting]) {
      await eventually(async () => (await stateOf(id)) === STATE.failed);
      expect((await platform.container(id)).error).toEqual({
        type: 'infrastructure',
        message: 'The container was not ready 11 minutes after it was placed.',
      });
    }
    expect(await stateOf(ready)).toBe(STATE.ready);
    const { assignments } = await platform.runners.listAssignments(node);
    expect(assignments.map(({ containerId }) => containerId).sort()).toEqual([ready, slow].sort());

    now += startLimitMs(3600) - startLimitMs(60);
    await platform.runners.heartbeat(node);
    await eventually(async () => (await stateOf(slow)) === STATE.failed);
    expect((await platform.container(slow)).reason).toMatch(/70 minutes/);
  });

  test('what never ends is lost, and its card free', async () => {
    const tenant = aTenant();
    const node = await platform.node(tenant, { gpus: ['H100', 'H100'] });
    const owner = anOwner(tenant, { gpu: ['H100'] });
    const [container] = await platform.wish(owner, 1, 1);
    await platform.report(node, container!.containerId, STATE.ready);
    const long = await one(tenant, { gpu: ['H100'], timeout: 3600 });
    await platform.report(node, long, STATE.ready);
    await platform.report(node, long, STATE.stopping); // What runs in it may run for an hour.
    await platform.wish(owner, 0, 2);
    now += stopLimitMs(60) + 1;
    await platform.runners.heartbeat(node);
    await eventually(async () => (await stateOf(container!.containerId)) === STATE.lost);
    expect(await stateOf(long)).toBe(STATE.stopping);
    expect((await platform.nodeOf(tenant, node.nodeId)).devices[0]!.containerId).toBe('');
  });

  test('what ended a week ago is forgotten, then its node; what lives is not', async () => {
    const tenant = aTenant();
    const [gone, alive] = [await platform.node(tenant), await platform.node(tenant)];
    const live = await platform.container(await one(tenant));
    const [runner, other] = live.nodeId === alive.nodeId ? [alive, gone] : [gone, alive];
    const ended = await one(tenant);
    await platform.report(runner, live.containerId, STATE.ready);
    await platform.report(
      (await platform.container(ended)).nodeId === runner.nodeId ? runner : other,
      ended,
      STATE.stopped,
    );
    await passUntil(async () => (await platform.nodeOf(tenant, other.nodeId)).state === 2, runner);
    now += KEPT_MS + 1;
    await platform.runners.heartbeat(runner);
    await eventually(async () => {
      const rows = await platform.db.query(
        'SELECT id FROM container WHERE id = $1 UNION ALL SELECT id FROM node WHERE id = $2',
        [ended, other.nodeId],
      );
      return rows.length === 0;
    });
    expect(await stateOf(live.containerId)).toBe(STATE.ready);
  });
});
