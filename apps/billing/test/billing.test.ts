import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { BillingServiceService, ListUsageRequest, UsageInterval } from '@berth/contracts/billing/v1/billing';
import { drift, newId, type Database } from '@berth/database';
import { encodeUsageEvent, USAGE_EVENTS } from '@berth/events';
import { metricsText, type CallContext, type ClientOf, type RunningService } from '@berth/service-kit';
import { ask, eventually, testBed, type TestBed } from '@berth/testing';
import { faultOf, isSame, type Interval } from '../src/domain/interval';
import { createUsageWriter } from '../src/loops/usage-writer';
import { billing } from '../src/service';

let bed: TestBed;
let service: RunningService;
let client: ClientOf<typeof BillingServiceService>;
let db: Database;

/** Refusals are logged as errors, which here are expected. */
const start = (env: NodeJS.ProcessEnv = {}) => bed.start(billing, { BERTH_LOG_LEVEL: 'silent', ...env });

beforeAll(async () => {
  bed = await testBed();
  service = await start();
  db = await bed.database(billing);
  client = bed.connect(BillingServiceService, 'billing', 'gateway');
});
afterAll(() => bed?.close());

const NOON = Date.parse('2026-11-20T12:00:00Z');
const interval = (workspaceId: string, change: Partial<UsageInterval> = {}): UsageInterval =>
  UsageInterval.fromPartial({
    containerId: newId('ta'),
    sequence: 0,
    organizationId: newId('or'),
    workspaceId,
    appId: newId('ap'),
    functionId: newId('fu'),
    nodeId: newId('no'),
    startedAt: new Date(NOON),
    endedAt: new Date(NOON + 60_000),
    cpu: 0.2,
    memory: 128,
    gpu: ['H100-simulated'],
    last: false,
    ...change,
  });
/**
 * As a runner publishes: until the queue says that it has it, since what is sent as the queue dies is gone. `again`
 * gets past the queue's own window for repeats.
 */
const say = (usage: UsageInterval, again = '') => {
  const { subject, payload, messageId } = encodeUsageEvent(usage);
  const options = { msgID: messageId + again, timeout: 2000 };
  return eventually(() => bed.bus.jetstream.publish(subject, payload, options));
};
const list = (caller: CallContext, filter: Partial<ListUsageRequest> = {}) =>
  client.listUsage(
    ListUsageRequest.fromPartial({
      start: new Date(NOON - 3_600_000),
      end: new Date(NOON + 3_600_000),
      ...filter,
    }),
    { for: caller },
  );
const workspaceIdOf = (caller: CallContext) => (caller.principal as { workspaceId: string }).workspaceId;
const listed = (caller: CallContext, count: number) =>
  eventually(async () => {
    const { data } = await list(caller);
    return data.length === count && data;
  });

const good: Interval = {
  container_id: newId('ta'),
  sequence: 0,
  organization_id: newId('or'),
  workspace_id: newId('wo'),
  app_id: '',
  function_id: '',
  node_id: newId('no'),
  started_at: new Date(NOON),
  ended_at: new Date(NOON + 1),
  millicores: 100,
  memory: 64,
  gpu: [],
  last: false,
};

/** How many events ended this way since the file began. */
const counted = async (outcome: string) => {
  const line = new RegExp(`^berth_billing_intervals_total\\{outcome="${outcome}"\\} (\\d+)$`, 'm');
  return Number(line.exec(await metricsText())?.[1] ?? 0);
};

/** Runs `work` while another writer holds the interval's key, uncommitted, and billing's insert waits for it. */
async function heldUp(usage: UsageInterval, work: () => Promise<unknown>): Promise<void> {
  const rollback = new Error('rolled back');
  const held = db.transact(async (tx) => {
    await tx.query(
      `INSERT INTO usage_interval
         (container_id, sequence, organization_id, workspace_id, app_id, function_id, node_id, started_at, ended_at,
          millicores, memory)
       VALUES ($1, $2, '', '', '', '', '', now(), now(), 0, 0)`,
      [usage.containerId, usage.sequence],
    );
    await say(usage);
    await eventually(async () => (await db.query(`SELECT pid FROM ${WAITING}`)).length > 0);
    await work();
    throw rollback;
  });
  await expect(held).rejects.toBe(rollback);
}
/** The connection of billing that waits for a lock. */
const WAITING = `pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = current_user`;

test('migrations and entities agree', async () => {
  expect(await drift({ ...billing.database!, url: bed.env.BERTH_BILLING_POSTGRES_URL! })).toEqual([]);
});

test('what a runner says is kept as it was said, and shown to its workspace alone', async () => {
  const owner = await bed.caller();
  const usage = interval(workspaceIdOf(owner), { last: true });
  await say(usage);
  expect(await listed(owner, 1)).toEqual([usage]);
  expect((await list(await bed.caller())).data).toEqual([]);
});

test('a repeat changes nothing; one that differs does not either, and is counted', async () => {
  const owner = await bed.caller();
  const usage = interval(workspaceIdOf(owner));
  const before = { repeated: await counted('repeated'), conflicting: await counted('conflicting') };
  await say(usage);
  await say(usage, 'again');
  await say(usage, 'and again');
  await say({ ...usage, memory: 64 }, 'and different');
  await eventually(async () => (await counted('conflicting')) === before.conflicting + 1);
  await eventually(async () => (await counted('repeated')) === before.repeated + 2);
  expect(await listed(owner, 1)).toEqual([usage]);
});

test('a thousand at once, each said three times, also to two replicas, are a thousand', async () => {
  const BERTH_BILLING_ADDRESS = `unix:${join(bed.dataDir, 'billing-2.sock')}`;
  const replica = await start({ BERTH_BILLING_ADDRESS });
  const owner = await bed.caller();
  const usages = Array.from({ length: 1000 }, () => interval(workspaceIdOf(owner)));
  for (const again of ['', '2', '3']) await Promise.all(usages.map((usage) => say(usage, again)));
  await eventually(async () => {
    const { num_pending, num_ack_pending } = await bed.bus.manager.consumers.info(
      'BERTH_EVENTS',
      'billing-usage',
    );
    return num_pending + num_ack_pending === 0;
  }, 30_000);
  const { data } = await list(owner, { limit: 1000 });
  expect(new Set(data.map(({ containerId }) => containerId)).size).toBe(1000);
  await replica[Symbol.asyncDispose]();
});

test('what cannot be true is left out, counted, and holds up nothing', async () => {
  const owner = await bed.caller();
  const workspaceId = workspaceIdOf(owner);
  const before = await counted('malformed');
  await bed.bus.jetstream.publish(USAGE_EVENTS, Buffer.from('nonsense'));
  const bad: Partial<UsageInterval>[] = [
    { endedAt: new Date(NOON - 1) },
    { startedAt: undefined },
    { endedAt: new Date(Date.now() + 2 * 3_600_000) },
    { startedAt: new Date('-000044-03-15T00:00:00Z') },
    { cpu: -1 },
    { cpu: Number.NaN },
    { cpu: Infinity },
    { cpu: 1e9 },
    { memory: -1 },
    { sequence: -1 },
    { nodeId: '' },
    { nodeId: 'no-\u0000' },
    { functionId: newId('ap') },
    { gpu: ['\u0000'] },
  ];
  for (const change of bad) await say(interval(workspaceId, change));
  const good = interval(workspaceId);
  await say(good);
  expect(await listed(owner, 1)).toEqual([good]);
  await eventually(async () => (await counted('malformed')) === before + bad.length + 1);
});

test('one that comes a day late is believed', async () => {
  const owner = await bed.caller();
  const startedAt = new Date(Date.now() - 26 * 3_600_000);
  const late = interval(workspaceIdOf(owner), { startedAt, endedAt: new Date(startedAt.getTime() + 1000) });
  await say(late);
  await eventually(async () => (await list(owner, { start: startedAt, end: undefined })).data.length === 1);
});

test('of several that are written together, one that the database refuses fails alone', async () => {
  const row = (memory: number): Interval => ({ ...good, container_id: newId('ta'), memory });
  const writer = createUsageWriter(db);
  const outcomes = await Promise.allSettled([1, -1, 2, 3].map((memory) => writer.write(row(memory))));
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
});

test('lists oldest first, page by page, within a span and by container and function', async () => {
  const owner = await bed.caller();
  const all = [];
  for (const minute of [3, 1, 2, 2, 0]) {
    const startedAt = new Date(NOON + minute * 60_000);
    all.push(interval(workspaceIdOf(owner), { startedAt, endedAt: new Date(startedAt.getTime() + 1000) }));
  }
  for (const each of all) await say(each);
  const order = (a: UsageInterval, b: UsageInterval) =>
    a.startedAt!.getTime() - b.startedAt!.getTime() || (a.containerId < b.containerId ? -1 : 1);
  all.sort(order);
  expect(await listed(owner, 5)).toEqual(all);

  const pages: UsageInterval[] = [];
  let cursor = '';
  do {
    const { data, nextCursor } = await list(owner, { limit: 2, cursor });
    pages.push(...data);
    cursor = nextCursor;
  } while (cursor);
  expect(pages).toEqual(all);

  const [first] = all;
  expect((await list(owner, { containerId: first!.containerId })).data).toEqual([first]);
  expect((await list(owner, { functionId: first!.functionId })).data).toEqual([first]);
  expect((await list(owner, { start: first!.startedAt, end: all[1]!.startedAt })).data).toEqual([first]);
});

test.each<[string, Partial<ListUsageRequest>, string]>([
  ['an end before the start', { start: new Date(NOON), end: new Date(NOON - 1) }, 'end'],
  ['an end at the start', { start: new Date(NOON), end: new Date(NOON) }, 'end'],
  ['too long a page', { limit: 1001 }, 'limit'],
  ['an unknown cursor', { cursor: '!' }, 'cursor'],
  ['the cursor of another list', { cursor: Buffer.from('ap-1').toString('base64url') }, 'cursor'],
  [
    'a cursor past every sequence',
    { cursor: Buffer.from(`1/${newId('ta')}/9999999999`).toString('base64url') },
    'cursor',
  ],
  ['an end before a day ago without a start', { start: undefined, end: new Date(NOON) }, 'end'],
  ['a start before there were years', { start: new Date('-000044-03-15T00:00:00Z') }, 'start'],
  ['an end after all years', { end: new Date(8.64e15) }, 'end'],
  ['a container that is none', { containerId: 'ta-\u0000' }, 'container_id'],
  ['a function that is none', { functionId: newId('ta') }, 'function_id'],
])('%s is refused', async (_, filter, field) => {
  await expect(list(await bed.caller(), filter)).rejects.toMatchObject({ kind: 'invalid', field });
});

test('without a window, it is the last day', async () => {
  const owner = await bed.caller({ role: 'member' });
  const at = (hoursAgo: number) => {
    const startedAt = new Date(Date.now() - hoursAgo * 3_600_000);
    return interval(workspaceIdOf(owner), { startedAt, endedAt: startedAt });
  };
  const [old, recent] = [at(25), at(23)];
  for (const usage of [old, recent]) await say(usage);
  await eventually(
    async () => (await list(owner, { start: old.startedAt, end: undefined })).data.length === 2,
  );
  const { data } = await list(owner, { start: undefined, end: undefined });
  expect(data).toEqual([recent]);
});

test('the container of another workspace is not there', async () => {
  const [own, foreign] = [await bed.caller(), await bed.caller()];
  const usage = interval(workspaceIdOf(foreign));
  await say(usage);
  await listed(foreign, 1);
  expect((await list(own, { containerId: usage.containerId })).data).toEqual([]);
  expect((await list(own, { functionId: usage.functionId })).data).toEqual([]);
});

test('usage is for members of a workspace: no service, no admin key, nobody without a token', async () => {
  for (const name of ['runner', 'scheduler', 'functions']) {
    const peer = bed.connect(BillingServiceService, 'billing', name);
    await expect(ask(BillingServiceService, peer, 'listUsage')).rejects.toMatchObject({ kind: 'denied' });
  }
  const admin = await bed.caller({ workspaceId: '', scope: 'organization', credentialKind: 'admin_key' });
  await expect(list(admin)).rejects.toMatchObject({ kind: 'denied' });
  const nobody = { ...(await bed.caller()), token: '' };
  await expect(list(nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test('a database connection that breaks in the middle of an insert costs a second, not an interval', async () => {
  const owner = await bed.caller();
  const usage = interval(workspaceIdOf(owner));
  await heldUp(usage, () => db.query(`SELECT pg_terminate_backend(pid) FROM ${WAITING}`));
  expect(await listed(owner, 1)).toEqual([usage]);
});

test('billing dies between the commit and the acknowledgement: one row, and the event is done with', async () => {
  await service[Symbol.asyncDispose]();
  const line = await cuttableLine(bed.nats.url);
  const victim = await start({ BERTH_NATS_URL: line.url });
  const owner = await bed.caller();
  const usage = interval(workspaceIdOf(owner));
  await heldUp(usage, async () => line.mute());
  await listed(owner, 1);
  await line.cut();
  await victim[Symbol.asyncDispose]();

  const before = await counted('repeated');
  service = await start();
  const { manager } = bed.bus;
  const { num_ack_pending } = await manager.consumers.info('BERTH_EVENTS', 'billing-usage');
  expect(num_ack_pending).toBeGreaterThan(0);
  await manager.consumers.update('BERTH_EVENTS', 'billing-usage', { ack_wait: 1e9 }); // Of half a minute.
  await eventually(async () => (await counted('repeated')) > before);
  expect(await listed(owner, 1)).toEqual([usage]);
  await eventually(
    async () => (await manager.consumers.info('BERTH_EVENTS', 'billing-usage')).num_ack_pending === 0,
  );
});

/** A line to NATS on which what the client says can be lost, as when it is killed before it has said it. */
async function cuttableLine(url: string) {
  const { hostname, port, username, password } = new URL(url);
  const sockets = new Set<Socket>();
  let muted = false;
  const door = createServer((client) => {
    const server = connect(Number(port), hostname);
    client.on('data', (bytes) => muted || server.write(bytes));
    server.on('data', (bytes) => client.write(bytes));
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => (client.destroy(), server.destroy()));
    }
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const address = door.address() as { port: number };
  return {
    url: `nats://${username}:${password}@127.0.0.1:${address.port}`,
    mute: () => (muted = true),
    cut: () =>
      new Promise<unknown>((resolve) => {
        door.close(resolve);
        for (const socket of sockets) socket.destroy();
      }),
  };
}

test('what is said while billing or the queue is away is not lost, and not doubled', async () => {
  const owner = await bed.caller();
  await service[Symbol.asyncDispose]();
  const usages = [0, 1, 2].map((sequence) => interval(workspaceIdOf(owner), { sequence }));
  for (const usage of usages) await say(usage);
  await bed.nats.restart();
  service = await start();
  await listed(owner, 3);
  for (const usage of usages) await say(usage, 'late repeat');
  const marker = interval(workspaceIdOf(owner));
  await say(marker);
  expect(
    (await listed(owner, 4)).filter(({ containerId }) => containerId === marker.containerId),
  ).toHaveLength(1);
});

describe('an interval', () => {
  test.each<[Partial<Interval>, RegExp | undefined]>([
    [{}, undefined],
    [{ ended_at: new Date(NOON) }, undefined],
    [{ ended_at: new Date(NOON - 1) }, /before it begins/],
    [{ ended_at: new Date(NOON + 3_600_000) }, undefined],
    [{ ended_at: new Date(NOON + 3_600_001) }, /future/],
    [{ started_at: new Date(0) }, undefined],
    [{ started_at: new Date(-1) }, /time/],
    [{ app_id: `ap-${'0'.repeat(22)}`, function_id: `fu-${'z'.repeat(22)}` }, undefined],
    [{ app_id: `fu-${'0'.repeat(22)}` }, /app_id/],
    [{ container_id: 'ta-1' }, /container_id/],
    [{ millicores: 1_000_000_001 }, /cores/],
    [{ gpu: ['H100', 'H100-simulated'] }, undefined],
    [{ gpu: [''] }, /gpu/],
    [{ started_at: new Date(Number.NaN) }, /time/],
    [{ container_id: '' }, /container_id/],
    [{ workspace_id: '' }, /workspace_id/],
    [{ sequence: -1 }, /sequence/],
    [{ millicores: Number.NaN }, /less than nothing/],
    [{ memory: -1 }, /less than nothing/],
  ])('%j: %s', (change, fault) => {
    const found = faultOf({ ...good, ...change }, NOON);
    if (fault) expect(found).toMatch(fault);
    else expect(found).toBeUndefined();
  });

  test('has no more cards than any node', () => {
    const holding = (cards: number) => ({ ...good, gpu: Array<string>(cards).fill('H100') });
    expect(faultOf(holding(1024), NOON)).toBeUndefined();
    expect(faultOf(holding(1025), NOON)).toMatch(/gpu/);
  });

  test('is the same when all of it is', () => {
    expect(isSame(good, { ...good, started_at: new Date(NOON) })).toBe(true);
    expect(isSame(good, { ...good, gpu: ['H100'] })).toBe(false);
    expect(isSame(good, { ...good, last: true })).toBe(false);
  });
});
