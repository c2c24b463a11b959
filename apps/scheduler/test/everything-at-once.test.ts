import { eventually } from '@berth/testing';
import fc from 'fast-check';
import { scheduler } from '../src/service';
import { anOwner, aTenant, openPlatform, STATE, type Platform, type Runner } from './platform';

let platform: Platform;
beforeAll(async () => {
  platform = await openPlatform(scheduler);
});
afterAll(() => platform?.bed.close());

/** What somebody does next, all of them at the same time. */
type Step =
  | { kind: 'wish'; owner: number; containers: number }
  | { kind: 'report'; node: number; pick: number; state: keyof typeof STATE }
  | { kind: 'restart'; node: number };

const NODES = 3;
const OWNERS = 5;
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wish' as const),
      owner: fc.nat(OWNERS - 1),
      containers: fc.nat(4),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('report' as const),
      node: fc.nat(NODES - 1),
      pick: fc.nat(),
      state: fc.constantFrom('starting', 'ready', 'stopping', 'stopped', 'failed'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), node: fc.nat(NODES - 1) }) },
);

/** Rows that break what must always hold. */
const broken = () =>
  platform.db.query(`
    SELECT 'held by one that ended, or elsewhere' AS what, d.id FROM device d JOIN container c ON c.id = d.container_id
     WHERE c.ended_at IS NOT NULL OR c.node_id <> d.node_id
    UNION ALL
    SELECT 'runs without the card that it asked for', c.id FROM container c
     WHERE c.node_id IS NOT NULL AND c.ended_at IS NULL
       AND jsonb_array_length(c.gpu) <> (SELECT count(*) FROM device d WHERE d.container_id = c.id)
    UNION ALL
    SELECT 'gives more than it has', n.id FROM node n JOIN container c ON c.node_id = n.id AND c.ended_at IS NULL
     GROUP BY n.id HAVING sum(c.millicores) > n.millicores OR sum(c.memory_mib) > n.memory_mib`);

test('wishes, reports and restarts at once leave nothing held, overfull or stuck', async () => {
  const tenant = aTenant();
  const seed = Date.now() & 0x7fffffff; // Printed by a failure, to run the same steps again.
  const steps = fc.sample(step, { seed, numRuns: 400 });
  const nodes: Runner[] = [];
  for (let at = 0; at < NODES; at++) nodes.push(await platform.node(tenant, { cpu: 3, gpus: ['A10'] }));
  const owners = Array.from({ length: OWNERS }, (_, at) => anOwner(tenant, at % 2 ? { gpu: ['A10'] } : {}));
  let revision = 0;

  const act = async (next: Step) => {
    if (next.kind === 'wish') {
      await platform.wish(owners[next.owner]!, next.containers, ++revision);
      return;
    }
    const node = nodes[next.node]!;
    if (next.kind === 'restart') {
      nodes[next.node] = await platform.node(tenant, { nodeId: node.nodeId, cpu: 3, gpus: ['A10'] });
      return;
    }
    const { assignments } = await platform.runners.listAssignments(node);
    const picked = assignments[next.pick % assignments.length];
    if (picked) await platform.report(node, picked.containerId, STATE[next.state]);
  };
  /** An older incarnation that is told so is what must happen; anything else is a failure of this test. */
  const actOrBeStale = (next: Step) =>
    act(next).catch((error: { kind?: string }) => {
      if (error.kind !== 'precondition') throw error;
    });

  let at = 0;
  const worker = async () => {
    while (at < steps.length) await actOrBeStale(steps[at++]!);
  };
  const run = async () => {
    await Promise.all(Array.from({ length: 8 }, worker));
    expect(await broken()).toEqual([]);

    // And in the end, when everybody wants nothing and every node says that all has stopped, nothing is left.
    for (const owner of owners) await platform.wish(owner, 0, ++revision);
    // Of two restarts at once the record knows who was last.
    for (const node of await platform.db.query<Runner>('SELECT id AS "nodeId", incarnation FROM node')) {
      const { assignments } = await platform.runners.listAssignments(node);
      for (const { containerId } of assignments) await platform.report(node, containerId, STATE.stopped);
    }
    expect(await broken()).toEqual([]);
    const left = await platform.db.query('SELECT id FROM container WHERE ended_at IS NULL');
    expect(left).toEqual([]);
    const held = await platform.db.query('SELECT id FROM device WHERE container_id IS NOT NULL');
    expect(held).toEqual([]);
    await eventually(async () => (await platform.db.query('SELECT FROM outbox')).length === 0);
  };
  await run().catch((error: unknown) => {
    throw new Error(`with the seed ${seed}: ${String(error)}`, { cause: error });
  });
});
