import { scheduler } from '../src/service';
import { anOwner, aTenant, openPlatform, STATE, type Platform } from './platform';

/** Apart from the other tests: what waits there would come to these nodes. */
let platform: Platform;
beforeAll(async () => {
  platform = await openPlatform(scheduler);
});
afterAll(() => platform?.bed.close());

test('a node without isolation serves the organization that came first, also when it runs nothing', async () => {
  const [own, other] = [aTenant(), aTenant()];
  const node = await platform.node(undefined, { engine: 'process' });
  const owner = anOwner(own);
  const [mine] = await platform.wish(owner, 1, 1);
  expect(mine!.nodeId).toBe(node.nodeId);
  await platform.report(node, mine!.containerId, STATE.stopped);

  const second = anOwner(other);
  const [theirs] = await platform.wish(second, 1, 1);
  expect(theirs).toMatchObject({
    state: STATE.pending,
    reason: expect.stringContaining('none that it may run on'),
  });
  expect((await platform.wish(owner, 1, 2))[0]!.nodeId).toBe(node.nodeId);
  await platform.node(undefined, { nodeId: node.nodeId, engine: 'process' }); // Its runner starts again.
  expect((await platform.wish(owner, 1, 3))[0]!.nodeId).toBe(node.nodeId);
  await expect(platform.nodeOf(other, node.nodeId)).rejects.toThrow('no node');
  await platform.wish(second, 0, 2);
});

test('of two organizations that come at once to a node without isolation, one stays', async () => {
  const node = await platform.node(undefined, {
    engine: 'process',
    cpu: 100,
    memory: 100_000,
    gpus: ['XYZ', 'XYZ'],
  });
  const tenants = Array.from({ length: 6 }, () => aTenant());
  const made = await Promise.all(tenants.map((tenant) => platform.wish(anOwner(tenant, { cpu: 5 }), 1, 1)));
  const placed = made.flat().filter(({ state }) => state === STATE.assigned);
  expect(placed.map(({ nodeId }) => nodeId)).toEqual([node.nodeId]);
});

test('a shared node with isolation serves all', async () => {
  const node = await platform.node(undefined, { cpu: 64, memory: 65_536, gpus: ['ABC', 'ABC'] });
  const both = await Promise.all(
    [aTenant(), aTenant()].map((tenant) => platform.wish(anOwner(tenant, { gpu: ['ABC'] }), 1, 1)),
  );
  expect(both.flat().map(({ nodeId }) => nodeId)).toEqual([node.nodeId, node.nodeId]);
});
