import { decodeContainerEvent } from '@berth/events';
import { eventually } from '@berth/testing';
import { scheduler } from '../src/service';
import { anOwner, aTenant, openPlatform, STATE, type Platform } from './platform';

let platform: Platform;
beforeAll(async () => {
  platform = await openPlatform(scheduler);
});
afterAll(() => platform?.bed.close());

test('a scheduler that was restarted has all that it had, and goes on with it', async () => {
  const tenant = aTenant();
  const node = await platform.node(tenant, { gpus: ['H100'] });
  const owner = anOwner(tenant, { gpu: ['H100'] });
  const before = await platform.wish(owner, 2, 3);
  await platform.restart();
  await platform.runners.heartbeat(node);
  expect(await platform.wish(owner, 5, 3)).toEqual(before);
  const { assignments } = await platform.runners.listAssignments(node);
  expect(assignments.map(({ containerId }) => containerId)).toEqual(
    before.filter(({ state }) => state === STATE.assigned).map(({ containerId }) => containerId),
  );
  await platform.report(node, assignments[0]!.containerId, STATE.stopped);
  const waiting = before.find(({ state }) => state === STATE.pending)!;
  await eventually(async () => (await platform.container(waiting.containerId)).nodeId === node.nodeId);
});

test('without NATS a wish is placed all the same, and its events come when NATS is back', async () => {
  const tenant = aTenant();
  await platform.node(tenant);
  const restarting = platform.bed.nats.restart();
  const [container] = await platform.wish(anOwner(tenant), 1, 1);
  expect(container!.state).toBe(STATE.assigned);
  await restarting;

  await eventually(async () => {
    const last = { last_by_subj: 'berth.events.container.v1.assigned' };
    const message = await platform.bed.bus.manager.streams.getMessage('BERTH_EVENTS', last);
    return message && decodeContainerEvent(message.data).containerId === container!.containerId;
  }, 20_000);
  const outbox = async () => (await platform.db.query('SELECT FROM outbox')).length === 0;
  await eventually(outbox, 20_000);
});
