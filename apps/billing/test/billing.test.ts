import { BillingServiceService, ListUsageRequest, UsageInterval } from '@berth/contracts/billing/v1/billing';
import { drift, newId } from '@berth/database';
import { encodeUsageEvent, USAGE_EVENTS } from '@berth/events';
import type { CallContext, ClientOf, RunningService } from '@berth/service-kit';
import { ask, eventually, testBed, type TestBed } from '@berth/testing';
import { faultOf, isSame, type Interval } from '../src/domain/interval';
import { billing } from '../src/service';

let bed: TestBed;
let service: RunningService;
let client: ClientOf<typeof BillingServiceService>;

beforeAll(async () => {
  bed = await testBed();
  service = await bed.start(billing);
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
/** As a runner publishes; `again` gets past the queue's own window for repeats. */
const say = (usage: UsageInterval, again = '') => {
  const { subject, payload, messageId } = encodeUsageEvent(usage);
  return bed.bus.jetstream.publish(subject, payload, { msgID: messageId + again });
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

test('a repeat changes nothing; one that differs does not either', async () => {
  const owner = await bed.caller();
  const usage = interval(workspaceIdOf(owner));
  await say(usage);
  await say(usage, 'again');
  await say({ ...usage, memory: 64 }, 'and different');
  await say(interval(workspaceIdOf(owner), { startedAt: new Date(NOON + 1) })); // Comes after them.
  expect((await listed(owner, 2))[0]).toEqual(usage);
});

test('what cannot be true is left out and holds up nothing', async () => {
  const owner = await bed.caller();
  const workspaceId = workspaceIdOf(owner);
  await bed.bus.jetstream.publish(USAGE_EVENTS, Buffer.from('nonsense'));
  await say(interval(workspaceId, { endedAt: new Date(NOON - 1) }));
  await say(interval(workspaceId, { startedAt: undefined }));
  await say(interval(workspaceId, { cpu: -1 }));
  await say(interval(workspaceId, { nodeId: '' }));
  const good = interval(workspaceId);
  await say(good);
  expect(await listed(owner, 1)).toEqual([good]);
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
])('%s is refused', async (_, filter, field) => {
  await expect(list(await bed.caller(), filter)).rejects.toMatchObject({ kind: 'invalid', field });
});

test('usage is for members of a workspace: no service, no admin key', async () => {
  for (const name of ['runner', 'scheduler', 'functions']) {
    const peer = bed.connect(BillingServiceService, 'billing', name);
    await expect(ask(BillingServiceService, peer, 'listUsage')).rejects.toMatchObject({ kind: 'denied' });
  }
  const admin = await bed.caller({ workspaceId: '', scope: 'organization', credentialKind: 'admin_key' });
  await expect(list(admin)).rejects.toMatchObject({ kind: 'denied' });
});

test('what is said while billing or the queue is away is not lost, and not doubled', async () => {
  const owner = await bed.caller();
  await service[Symbol.asyncDispose]();
  const usages = [0, 1, 2].map((sequence) => interval(workspaceIdOf(owner), { sequence }));
  for (const usage of usages) await say(usage);
  await bed.nats.restart();
  service = await bed.start(billing);
  await listed(owner, 3);
  for (const usage of usages) await say(usage, 'late repeat');
  const marker = interval(workspaceIdOf(owner));
  await say(marker);
  expect(
    (await listed(owner, 4)).filter(({ containerId }) => containerId === marker.containerId),
  ).toHaveLength(1);
});

describe('an interval', () => {
  const good: Interval = {
    container_id: 'ta-1',
    sequence: 0,
    organization_id: 'or-1',
    workspace_id: 'wo-1',
    app_id: '',
    function_id: '',
    node_id: 'no-1',
    started_at: new Date(NOON),
    ended_at: new Date(NOON + 1),
    millicores: 100,
    memory: 64,
    gpu: [],
    last: false,
  };

  test.each<[Partial<Interval>, RegExp | undefined]>([
    [{}, undefined],
    [{ ended_at: new Date(NOON) }, undefined],
    [{ ended_at: new Date(NOON - 1) }, /before it begins/],
    [{ ended_at: new Date(NOON + 2 * 3_600_000) }, /future/],
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

  test('is the same when all of it is', () => {
    expect(isSame(good, { ...good, started_at: new Date(NOON) })).toBe(true);
    expect(isSame(good, { ...good, gpu: ['H100'] })).toBe(false);
    expect(isSame(good, { ...good, last: true })).toBe(false);
  });
});
