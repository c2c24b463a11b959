/** Shells: a container of no pool for each, which ends with whoever holds it. */
import { randomBytes } from 'node:crypto';
import { ShellFunctionsServiceService, type OpenShellRequest } from '@berth/contracts/functions/v1/shell';
import { ContainerSpec, ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import { newId } from '@berth/database';
import { eventually } from '@berth/testing';
import { World } from './world';

jest.setTimeout(30_000);

let world: World;
beforeAll(async () => (world = await World.open({ BERTH_SHELLS_MAX: '2' })));
afterAll(() => world?.close());

const aRequest = (functionId: string, change: Partial<OpenShellRequest> = {}): OpenShellRequest => ({
  functionId,
  shellId: randomBytes(24).toString('base64url'),
  gatewayAddress: '127.0.0.1:1',
  timeout: 60,
  ...change,
});

/** A shell as its gateway has it: what was said of it last, and how to leave. */
async function open(request: OpenShellRequest, caller = world.owner) {
  const client = world.bed.connect(ShellFunctionsServiceService, 'functions', 'gateway');
  const leaving = new AbortController();
  const messages = client.openShell(request, { for: caller, signal: leaving.signal })[Symbol.asyncIterator]();
  const first = await messages.next();
  return {
    first: first.value!,
    next: async () => (await messages.next()).value,
    leave: () => leaving.abort(),
  };
}
const wishes = ({ shellId }: OpenShellRequest) =>
  world.scheduler.wishes.filter(({ owner }) => owner === `shell/${shellId}`);

test('a shell is one container, told of as it changes, and taken back when its holder leaves', async () => {
  const { functionId } = await world.aFunction();
  const request = aRequest(functionId);
  const shell = await open(request);
  expect(shell.first).toMatchObject({ reason: 'No node has such a card.', ended: false });
  const { shellId, gatewayAddress, timeout } = request;
  expect(wishes(request)).toMatchObject([
    {
      containers: 1,
      revision: 1n,
      spec: { functionId, version: 0, shell: { shellId, gatewayAddress, timeout } },
    },
  ]);
  shell.leave();
  await eventually(() => wishes(request).at(-1)?.containers === 0);
  await eventually(async () => (await world.db.query('SELECT FROM shell')).length === 0);
});

test('how its container failed is said, and held against no pool', async () => {
  const { functionId } = await world.aFunction();
  const shell = await open(aRequest(functionId));
  const error = { type: 'init_failed', message: 'No such image.', traceback: undefined };
  const container = world.scheduler.containers.get(shell.first.containerId)!;
  await world.scheduler.become(container, ContainerState.CONTAINER_STATE_FAILED, { error });
  expect(await shell.next()).toMatchObject({ ended: true, error });
  expect(await shell.next()).toBeUndefined();

  // The next call would rest for a pool that has failed.
  await world.spawn(functionId);
  await eventually(() => world.scheduler.wishOf(functionId)?.containers === 1);
  expect(await world.db.query('SELECT failures FROM pool WHERE function_id = $1', [functionId])).toEqual([
    { failures: 0 },
  ]);
});

test('a workspace has so many at a time, and a repeat of one is none more', async () => {
  const { functionId } = await world.aFunction();
  const [one, two] = [aRequest(functionId), aRequest(functionId)];
  const held = await Promise.all([open(one), open(two)]);
  await expect(open(aRequest(functionId))).rejects.toMatchObject({ kind: 'exhausted' });
  const again = await open(one);
  expect(again.first.containerId).toBe(held[0]!.first.containerId);
  for (const shell of [...held, again]) shell.leave();
  await eventually(async () => (await world.db.query('SELECT FROM shell')).length === 0);
});

test('one whose gateway is silent is ended by whoever looks', async () => {
  const { functionId } = await world.aFunction();
  const request = aRequest(functionId);
  const shell = await open(request);
  shell.leave();
  await eventually(() => wishes(request).at(-1)?.containers === 0);
  const spec = ContainerSpec.encode(wishes(request)[0]!.spec!).finish();
  // As a replica leaves it that is killed.
  const id = aRequest(functionId).shellId;
  await world.db.query(
    `INSERT INTO shell (id, workspace_id, spec, heard_at) VALUES ($1, $2, $3, now() - interval '2 minutes')`,
    [id, newId('wo'), Buffer.from(spec)],
  );
  await eventually(async () => (await world.db.query('SELECT FROM shell')).length === 0, 20_000);
  expect(world.scheduler.wishes.at(-1)).toMatchObject({ owner: `shell/${id}`, containers: 0, revision: 2n });
});

test("a foreign function, and what is no shell's, get none", async () => {
  const { functionId } = await world.aFunction();
  const stranger = await world.bed.caller({ workspaceId: newId('wo') });
  await expect(open(aRequest(functionId), stranger)).rejects.toMatchObject({ kind: 'not_found' });
  await expect(open(aRequest(newId('fu')))).rejects.toMatchObject({ kind: 'not_found' });
  await expect(open(aRequest(functionId, { shellId: 'x y' }))).rejects.toMatchObject({ field: 'shell_id' });
  await expect(open(aRequest(functionId, { timeout: 86_401 }))).rejects.toMatchObject({ field: 'timeout' });
  await world.client.deleteFunction({ functionId }, { for: world.owner });
  await expect(open(aRequest(functionId))).rejects.toMatchObject({ kind: 'precondition' });
});
