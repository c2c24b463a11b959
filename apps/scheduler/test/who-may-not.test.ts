import { SchedulerServiceService } from '@berth/contracts/scheduler/v1/scheduler';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { ask } from '@berth/testing';
import { scheduler } from '../src/service';
import { anOwner, aTenant, openPlatform, type Platform } from './platform';

let platform: Platform;
beforeAll(async () => {
  platform = await openPlatform(scheduler);
});
afterAll(() => platform?.bed.close());

const requests: Record<keyof typeof SchedulerServiceService, object> = {
  setWish: { ...anOwner(aTenant()), containers: 1, revision: 1n },
  registerNode: { incarnation: 'i', name: 'n', engine: 'docker', cpu: 1, memory: 1 },
  heartbeat: {},
  listAssignments: {},
  reportContainer: {},
  listContainers: {},
  listNodes: {},
  getContainerOwner: { containerId: 'ta-0000000000000000000000' },
};
/** The services that may ask in their own name; users may ask the last two. */
const allowed: Record<keyof typeof requests, string[]> = {
  setWish: ['functions', 'workspace'],
  registerNode: ['runner'],
  heartbeat: ['runner'],
  listAssignments: ['runner'],
  reportContainer: ['runner'],
  listContainers: ['functions'],
  listNodes: [],
  getContainerOwner: ['identity'],
};
const rpcs = Object.keys(requests) as (keyof typeof requests)[];
const attempt = (
  client: ClientOf<typeof SchedulerServiceService>,
  rpc: keyof typeof requests,
  caller?: CallContext,
) => ask(SchedulerServiceService, client, rpc, requests[rpc], caller);

test.each(rpcs)('%s refuses a caller without a token', async (rpc) => {
  const nobody = { ...(await platform.bed.caller()), token: '' };
  await expect(attempt(platform.gateway, rpc, nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test.each(rpcs)('%s refuses a service that is not listed', async (rpc) => {
  for (const service of ['functions', 'workspace', 'runner', 'billing', 'gateway']) {
    const client = platform.bed.connect(SchedulerServiceService, 'scheduler', service);
    const denied = await attempt(client, rpc).then(
      () => false,
      ({ kind }: { kind: string }) => kind === 'denied',
    );
    expect([service, denied]).toEqual([service, !allowed[rpc].includes(service)]);
  }
});

test.each(rpcs.slice(0, 5))('%s refuses a user, an owner too', async (rpc) => {
  const owner = await platform.bed.caller({ role: 'owner', scope: 'organization' });
  await expect(attempt(platform.gateway, rpc, owner)).rejects.toMatchObject({ kind: 'denied' });
});

test('listContainers refuses an admin key, which opens no workspace', async () => {
  const key = await platform.bed.caller({ workspaceId: '', scope: 'organization' });
  await expect(attempt(platform.gateway, 'listContainers', key)).rejects.toMatchObject({ kind: 'denied' });
});
