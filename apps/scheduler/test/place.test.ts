import fc from 'fast-check';
import { admits, choicesOf, emptyRoom, fits, type NodeSnapshot, type Waiting } from '../src/domain/cluster';
import { matches, parseGpu } from '../src/domain/gpu';
import { KEEP_PERIOD_MS, place, type Plan } from '../src/domain/place';

const aNode = (nodeId: string, fields: Partial<NodeSnapshot> & { gpus?: string[] } = {}): NodeSnapshot => {
  const { gpus = [], ...rest } = fields;
  const [millicores, memoryMib] = [rest.millicores ?? 4000, rest.memoryMib ?? 4096];
  return {
    nodeId,
    organizationId: null,
    isolated: true,
    millicores,
    memoryMib,
    millicoresFree: millicores,
    memoryMibFree: memoryMib,
    // `H100` is a free card, `-H100` one that is held, `H100?` a simulated one.
    cards: gpus.map((text, index) => ({
      deviceId: `${nodeId}/${index}`,
      index,
      model: text.replace(/[-?]/g, ''),
      simulated: text.endsWith('?'),
      free: !text.startsWith('-'),
    })),
    ...rest,
  };
};
const aContainer = (
  containerId: string,
  fields: Partial<Omit<Waiting, 'gpu'>> & { gpu?: string[] } = {},
): Waiting => ({
  containerId,
  organizationId: 'or-1',
  millicores: 1000,
  memoryMib: 256,
  waitedMs: 0,
  ...fields,
  gpu: parseGpu(fields.gpu ?? []),
});
const placesOf = (plan: Plan) =>
  Object.fromEntries(plan.placements.map(({ containerId, nodeId }) => [containerId, nodeId]));
const cardsOf = (plan: Plan, containerId: string) =>
  plan.placements.find((placement) => placement.containerId === containerId)?.deviceIds;
const awaited = (nodes: NodeSnapshot[], wanted: Waiting) => place(nodes, [wanted]).waiting[0]?.awaits;
const reasonOf = (nodes: NodeSnapshot[], wanted: Waiting) => place(nodes, [wanted]).waiting[0]?.reason;

test('what waits only for room says which, and what no node can run awaits none', () => {
  const full = [aNode('n', { millicoresFree: 0, gpus: ['-H100', 'A10'] })];
  expect(awaited(full, aContainer('a'))).toBe('cores');
  expect(awaited(full, aContainer('a', { gpu: ['H100'] }))).toBe('cards');
  expect(awaited(full, aContainer('a', { gpu: ['A10'] }))).toBe('cores');
  expect(awaited(full, aContainer('a', { gpu: ['H100', 'A10'] }))).toBe('cores');
  expect(awaited(full, aContainer('a', { gpu: ['B200'] }))).toBeUndefined();
  expect(awaited(full, aContainer('a', { millicores: 1_000_000 }))).toBeUndefined();
  expect(awaited(full, aContainer('a', { organizationId: 'or-2' }))).toBe('cores');
  const foreign = [aNode('n', { organizationId: 'or-1' })];
  expect(awaited(foreign, aContainer('a', { organizationId: 'or-2' }))).toBeUndefined();
  expect(awaited([], aContainer('a'))).toBeUndefined();
});

describe('where it goes', () => {
  test('work without cards stays off nodes that have some, while there is another', () => {
    const nodes = [aNode('gpu', { gpus: ['H100'] }), aNode('cpu', { millicores: 2000 })];
    const plan = place(nodes, [aContainer('a'), aContainer('b'), aContainer('c')]);
    expect(placesOf(plan)).toEqual({ a: 'cpu', b: 'cpu', c: 'gpu' });
  });

  test('the fullest node that has room, so that an empty one stays whole', () => {
    const nodes = [aNode('empty'), aNode('busy', { millicoresFree: 1500 })];
    expect(placesOf(place(nodes, [aContainer('a'), aContainer('b')]))).toEqual({ a: 'busy', b: 'empty' });
  });

  test('cards go where they leave the fewest behind', () => {
    const nodes = [
      aNode('four', { gpus: ['H100', 'H100', 'H100', 'H100'] }),
      aNode('one', { gpus: ['H100'] }),
    ];
    const plan = place(nodes, [aContainer('a', { gpu: ['H100'] }), aContainer('b', { gpu: ['H100:4'] })]);
    expect(placesOf(plan)).toEqual({ a: 'one', b: 'four' });
  });

  test('the most wanted model that is free', () => {
    const nodes = [aNode('n', { gpus: ['-H100', 'A10'] })];
    expect(cardsOf(place(nodes, [aContainer('a', { gpu: ['H100', 'A10'] })]), 'a')).toEqual(['n/1']);
    expect(cardsOf(place(nodes, [aContainer('a', { gpu: ['any'] })]), 'a')).toEqual(['n/1']);
  });

  test('cards of one model, and never real beside simulated; real before simulated', () => {
    const mixed = [aNode('n', { gpus: ['H100', 'A10', 'H100?'] })];
    expect(reasonOf(mixed, aContainer('a', { gpu: ['any:2'] }))).toContain('the node with most has 1');
    expect(reasonOf(mixed, aContainer('a', { gpu: ['H100:2'] }))).toContain('the node with most has 1');
    const both = [aNode('a-simulated', { gpus: ['H100?'] }), aNode('real', { gpus: ['H100'] })];
    expect(placesOf(place(both, [aContainer('a', { gpu: ['h100'] })]))).toEqual({ a: 'real' });
  });

  test("another organization's node is not there", () => {
    const nodes = [aNode('theirs', { organizationId: 'or-2' })];
    expect(reasonOf(nodes, aContainer('a'))).toMatch(/^Waits for a node: none that it may run on is ready/);
    expect(placesOf(place(nodes, [aContainer('a', { organizationId: 'or-2' })]))).toEqual({ a: 'theirs' });
  });

  test('a node without isolation is claimed by the organization that comes first', () => {
    const nodes = [aNode('process', { isolated: false })];
    const line = [aContainer('a'), aContainer('b', { organizationId: 'or-2' }), aContainer('c')];
    const plan = place(nodes, line);
    expect(placesOf(plan)).toEqual({ a: 'process', c: 'process' });
    expect(plan.claims).toEqual([{ nodeId: 'process', organizationId: 'or-1' }]);
  });
});

describe('the line', () => {
  test('what does not fit is passed over', () => {
    const nodes = [aNode('n'), aNode('m', { millicores: 8000, millicoresFree: 2000 })];
    const plan = place(nodes, [aContainer('big', { millicores: 8000 }), aContainer('small')]);
    expect(placesOf(plan)).toEqual({ small: 'n' });
  });

  test('what it waits for is kept for it: small ones behind it do not take it', () => {
    const nodes = [aNode('n', { gpus: ['H100', '-H100'] })];
    const line = [
      aContainer('big', { gpu: ['H100:2'] }),
      aContainer('small', { gpu: ['H100'], organizationId: 'or-2' }),
      aContainer('cpu', { organizationId: 'or-2' }),
    ];
    const plan = place(nodes, line);
    expect(placesOf(plan)).toEqual({ cpu: 'n' }); // It takes nothing that the big one lacks.
    expect(plan.waiting[1]!.reason).toContain('kept for a container that has waited longer');
  });

  test('but not for ever: in the second half of each period the node is open', () => {
    const nodes = [aNode('n', { gpus: ['H100', '-H100'] })];
    const lineAfter = (waitedMs: number) => [
      aContainer('big', { gpu: ['H100:2'], waitedMs }),
      aContainer('small', { gpu: ['H100'], organizationId: 'or-2' }),
    ];
    expect(placesOf(place(nodes, lineAfter(KEEP_PERIOD_MS / 2)))).toEqual({ small: 'n' });
    expect(placesOf(place(nodes, lineAfter(KEEP_PERIOD_MS)))).toEqual({});
  });

  test('an organization has one node kept, however much of it waits', () => {
    const half = { millicores: 8000, millicoresFree: 4000 };
    const nodes = [aNode('a', half), aNode('b', half), aNode('c', half)];
    const big = { millicores: 8000 };
    const line = [
      aContainer('1', big),
      aContainer('2', big),
      aContainer('3', big),
      ...['x', 'y', 'z'].map((id) => aContainer(id, { organizationId: 'or-2', millicores: 4000 })),
    ];
    expect(Object.keys(placesOf(place(nodes, line)))).toEqual(['x', 'y']);
  });
});

describe('why it waits', () => {
  const h100 = (count: number) => aContainer('a', { gpu: [`H100:${count}`] });
  test.each<[string, NodeSnapshot[], Waiting]>([
    ['Waits for a node: none that it may run on is ready.', [], aContainer('a')],
    ['Waits for an H100: no node has such a card.', [aNode('n', { gpus: ['A10'] })], h100(1)],
    ['Waits for a T4: no node has such a card.', [aNode('n')], aContainer('a', { gpu: ['T4'] })],
    ['Waits for a card: no node has such a card.', [aNode('n')], aContainer('a', { gpu: ['any'] })],
    ['Waits for 2 free H100: 1 of 2 is free on 1 node.', [aNode('n', { gpus: ['H100', '-H100'] })], h100(2)],
    [
      'Waits for 4 H100 on one node: the node with most has 2.',
      [aNode('n', { gpus: ['H100', 'H100'] })],
      h100(4),
    ],
    [
      'Waits for an H100: no node has such a card; or for an A10: no node has such a card.',
      [aNode('n')],
      aContainer('a', { gpu: ['H100', 'A10'] }),
    ],
    [
      'Waits for 512 MiB of memory: the node with most has 128 MiB free.',
      [aNode('n', { memoryMibFree: 128 }), aNode('m', { memoryMibFree: 64 })],
      aContainer('a', { memoryMib: 512 }),
    ],
    [
      'Waits for 1 core: the node with most has 0.5 cores free.',
      [aNode('n', { millicoresFree: 500 })],
      aContainer('a'),
    ],
    [
      'Needs 64 cores, the largest node has 4 cores: no node can ever run it.',
      [aNode('n')],
      aContainer('a', { millicores: 64_000 }),
    ],
    [
      'Needs 8192 MiB of memory, the largest node has 4096 MiB: no node can ever run it.',
      [aNode('n')],
      aContainer('a', { memoryMib: 8192 }),
    ],
    [
      'Needs 8 cores and 8192 MiB of memory on one node: no node has both.',
      [aNode('n', { millicores: 8000 }), aNode('m', { memoryMib: 8192 })],
      aContainer('a', { millicores: 8000, memoryMib: 8192 }),
    ],
  ])('%s', (reason, nodes, wanted) => {
    const said = reasonOf(nodes, wanted)!;
    expect(said.startsWith(reason)).toBe(true);
    expect(said).toMatch(/ It starts when .+\.$/); // And what would start it.
  });
});

describe('whatever the cluster and the line', () => {
  const organization = fc.constantFrom('or-1', 'or-2', 'or-3');
  const anyNode = fc.record({
    organizationId: fc.option(organization, { freq: 3 }),
    isolated: fc.boolean(),
    millicores: fc.integer({ min: 1, max: 16 }).map((cores) => cores * 1000),
    memoryMib: fc.integer({ min: 1, max: 16 }).map((gib) => gib * 1024),
    gpus: fc.array(fc.constantFrom('H100', 'A10', 'A10?'), { maxLength: 5 }),
  });
  const anyNodes = fc
    .array(anyNode, { maxLength: 5 })
    .map((nodes) => nodes.map((node, at) => aNode(`no-${at}`, node)));
  const gpu = fc.tuple(fc.constantFrom('H100', 'A10', 'any'), fc.integer({ min: 1, max: 4 }));
  const anyLine = fc
    .array(
      fc.record({
        organizationId: organization,
        millicores: fc.integer({ min: 1, max: 18 }).map((cores) => cores * 1000),
        memoryMib: fc.integer({ min: 1, max: 18 }).map((gib) => gib * 1024),
        gpu: fc.array(gpu, { maxLength: 2 }).map((all) => all.map(([model, count]) => `${model}:${count}`)),
        waitedMs: fc.integer({ min: 0, max: 2 * KEEP_PERIOD_MS }),
      }),
      { maxLength: 25 },
    )
    .map((line) => line.map((each, at) => aContainer(`ta-${at}`, each)));

  /** The cluster after a plan, and what runs on it. */
  const apply = (nodes: NodeSnapshot[], line: Waiting[], plan: Plan): NodeSnapshot[] =>
    nodes.map((node) => {
      const here = plan.placements.filter(({ nodeId }) => nodeId === node.nodeId);
      const wanted = here.map(({ containerId }) => line.find((each) => each.containerId === containerId)!);
      const held = new Set(here.flatMap(({ deviceIds }) => deviceIds));
      const claim = plan.claims.find(({ nodeId }) => nodeId === node.nodeId);
      return {
        ...node,
        organizationId: claim?.organizationId ?? node.organizationId,
        millicoresFree: node.millicoresFree - wanted.reduce((sum, { millicores }) => sum + millicores, 0),
        memoryMibFree: node.memoryMibFree - wanted.reduce((sum, { memoryMib }) => sum + memoryMib, 0),
        cards: node.cards.map((card) => ({ ...card, free: card.free && !held.has(card.deviceId) })),
      };
    });

  // A failure prints its seed and path: give them to fc.assert to see it again.
  const check = (property: fc.IProperty<[NodeSnapshot[], Waiting[]]>) =>
    fc.assert(property, { numRuns: 400 });

  test('a card has one holder, no node gives more than it has, and everyone stays among their own', () => {
    check(
      fc.property(anyNodes, anyLine, (nodes, line) => {
        const plan = place(nodes, line);
        const decided = [...plan.placements, ...plan.waiting].map(({ containerId }) => containerId);
        expect(decided.sort()).toEqual(line.map(({ containerId }) => containerId).sort());

        const held = plan.placements.flatMap(({ deviceIds }) => deviceIds);
        expect(new Set(held).size).toBe(held.length);
        for (const node of apply(nodes, line, plan)) {
          expect(node.millicoresFree).toBeGreaterThanOrEqual(0);
          expect(node.memoryMibFree).toBeGreaterThanOrEqual(0);
        }
        for (const { containerId, nodeId, deviceIds } of plan.placements) {
          const wanted = line.find((each) => each.containerId === containerId)!;
          const node = nodes.find((each) => each.nodeId === nodeId)!;
          expect([null, wanted.organizationId]).toContain(node.organizationId);
          const cards = deviceIds.map((id) => node.cards.find(({ deviceId }) => deviceId === id)!);
          expect(
            new Set(cards.map(({ model, simulated }) => `${model} ${simulated}`)).size,
          ).toBeLessThanOrEqual(1);
          const served = wanted.gpu.some(
            (choice) => choice.count === cards.length && cards.every(({ model }) => matches(choice, model)),
          );
          expect(wanted.gpu.length === 0 ? cards.length === 0 : served).toBe(true);
        }
        for (const node of nodes.filter(({ isolated }) => !isolated)) {
          const here = plan.placements.filter(({ nodeId }) => nodeId === node.nodeId);
          const organizations = here.map(
            ({ containerId }) => line.find((each) => each.containerId === containerId)!.organizationId,
          );
          expect(new Set(organizations).size).toBeLessThanOrEqual(1);
        }
        for (const { reason } of plan.waiting) expect(reason).toMatch(/It starts when/);
      }),
    );
  });

  test('a running card is never given away, and the same snapshot gives the same plan', () => {
    check(
      fc.property(anyNodes, anyLine, (nodes, line) => {
        const first = place(nodes, line.slice(0, 8));
        const busy = apply(nodes, line, first);
        const second = place(busy, line.slice(8));
        const held = new Set(first.placements.flatMap(({ deviceIds }) => deviceIds));
        for (const { deviceIds } of second.placements) {
          for (const id of deviceIds) expect(held.has(id)).toBe(false);
        }
        for (const node of apply(busy, line, second)) expect(node.millicoresFree).toBeGreaterThanOrEqual(0);
        expect(place(busy, line.slice(8))).toEqual(second);
      }),
    );
  });

  test('all that fits an empty cluster is placed in the end, when the others end', () => {
    check(
      fc.property(anyNodes, anyLine, (nodes, line) => {
        let empty = nodes;
        let waiting = line;
        for (;;) {
          const plan = place(empty, waiting);
          if (plan.placements.length === 0) break;
          const owners = apply(empty, waiting, plan); // They end, and give back all but the claim.
          empty = empty.map((node, at) => ({ ...node, organizationId: owners[at]!.organizationId }));
          const left = new Set(plan.waiting.map(({ containerId }) => containerId));
          waiting = waiting.filter(({ containerId }) => left.has(containerId));
        }
        for (const wanted of waiting) {
          const could = empty.some((node) => {
            const room = emptyRoom(node, node.organizationId);
            return (
              admits(room, wanted.organizationId) &&
              choicesOf(wanted).some((choice) => fits(room, wanted, choice))
            );
          });
          expect(could).toBe(false);
        }
      }),
    );
  });

  test('the large one is served before those behind it, however many keep coming', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 6 }),
        fc.array(fc.nat(5), { minLength: 12, maxLength: 12 }),
        (size, ends) => {
          // A node full of small ones; each round one of them ends and two more come, all behind the large one.
          let running = Array.from({ length: size }, (_, at) => `old-${at}`);
          const rounds = ends.slice(0, size);
          for (const [round, end] of rounds.entries()) {
            running = running.filter((_, at) => at !== end % running.length);
            const node = aNode('n', {
              millicores: size * 1000,
              millicoresFree: (size - running.length) * 1000,
            });
            const line = [
              aContainer('large', { millicores: size * 1000, waitedMs: round * 1000 }),
              aContainer(`new-${round}`, { organizationId: 'or-2' }),
              aContainer(`newer-${round}`, { organizationId: 'or-2' }),
            ];
            const placed = Object.keys(placesOf(place([node], line)));
            expect(placed).toEqual(running.length === 0 ? ['large'] : []);
          }
          expect(running).toEqual([]);
        },
      ),
    );
  });
});
