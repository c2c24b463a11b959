/**
 * Who runs where: a pure decision over a snapshot.
 *
 * The line is first come, first served. What does not fit is passed over, so that it never stops those behind it; but
 * then small ones could take every bit that becomes free and a large one would wait for ever. So the first of each
 * organization that does not fit has a node *kept* for it: the plan treats what it needs there as taken. A container
 * whose turn never comes must not hold a node idle for ever either: it is kept for the first half of every
 * `KEEP_PERIOD_MS` that it has waited, and in the other half the node is open to all.
 *
 * Nothing is remembered between plans. To get it wrong: let a kept node depend on anything but the snapshot and the
 * time waited, and two schedulers keep two nodes for one container.
 */
import {
  admits,
  choicesOf,
  emptyRoom,
  fits,
  freeRoom,
  kindsOf,
  mostCards,
  type Card,
  type NodeSnapshot,
  type Room,
  type Waiting,
} from './cluster';
import { explain } from './explain';
import type { GpuChoice } from './gpu';

export interface Placement {
  containerId: string;
  nodeId: string;
  deviceIds: string[];
}

export interface WaitingStill {
  containerId: string;
  reason: string;
  /**
   * What it lacks on a node that could run it, were it not for what runs there now: cards, or only cores and memory.
   * Undefined: no node can ever run it.
   */
  awaits: 'cores' | 'cards' | undefined;
}

export interface Plan {
  placements: Placement[];
  /** Why the others wait, and what would start them. */
  waiting: WaitingStill[];
  /** Nodes without isolation that now belong to the organization that came first. */
  claims: { nodeId: string; organizationId: string }[];
}

export const KEEP_PERIOD_MS = 20 * 60_000;

const isKeptFor = ({ waitedMs }: Waiting) => waitedMs % KEEP_PERIOD_MS < KEEP_PERIOD_MS / 2;

/** Decides for all that wait, in their order. */
export function place(nodes: readonly NodeSnapshot[], line: readonly Waiting[]): Plan {
  const plan: Plan = { placements: [], waiting: [], claims: [] };
  /** What is free; and of it, what is not kept for somebody. */
  const free = new Map(nodes.map((node) => [node.nodeId, freeRoom(node)]));
  const open = new Map(free);
  const keeps = new Set<string>();
  /** Room only shrinks while a plan is made, so what did not fit once does not fit again. */
  const hopeless = new Map<string, Omit<WaitingStill, 'containerId'>>();

  for (const wanted of line) {
    const shape = JSON.stringify([
      wanted.organizationId,
      wanted.millicores,
      wanted.memoryMib,
      wanted.gpu.map(({ model, count }) => [model, count]),
    ]);
    const known = hopeless.get(shape);
    const found = known === undefined ? findRoom([...open.values()], wanted) : undefined;
    if (found) {
      const { room, cards } = found;
      const { nodeId, isolated } = room.node;
      const organizationId = isolated ? room.organizationId : wanted.organizationId;
      if (organizationId !== room.organizationId) {
        plan.claims.push({ nodeId, organizationId: wanted.organizationId });
      }
      const deviceIds = cards.map(({ deviceId }) => deviceId);
      plan.placements.push({ containerId: wanted.containerId, nodeId, deviceIds });
      open.set(nodeId, { ...without(room, wanted, cards), organizationId });
      free.set(nodeId, { ...without(free.get(nodeId)!, wanted, cards), organizationId });
      continue;
    }

    const rooms = [...free.values()];
    const why = known ?? { reason: explain(wanted, rooms), awaits: awaitedBy(rooms, wanted) };
    hopeless.set(shape, why);
    plan.waiting.push({ containerId: wanted.containerId, ...why });
    if (keeps.has(wanted.organizationId) || !isKeptFor(wanted)) continue;
    const kept = roomToKeep([...open.values()], wanted);
    if (!kept) continue;
    keeps.add(wanted.organizationId);
    open.set(kept.room.node.nodeId, without(kept.room, wanted, kept.cards));
  }
  return plan;
}

/** The room as it is when `wanted` has what it needs there; below zero when that is more than there is. */
const without = (room: Room, wanted: Waiting, cards: readonly Card[]): Room => ({
  ...room,
  millicores: room.millicores - wanted.millicores,
  memoryMib: room.memoryMib - wanted.memoryMib,
  cards: room.cards.filter((card) => !cards.includes(card)),
});

function awaitedBy(rooms: readonly Room[], wanted: Waiting): WaitingStill['awaits'] {
  const able = (room: Room, choice: GpuChoice | undefined) =>
    admits(room, wanted.organizationId) && fits(emptyRoom(room.node, room.organizationId), wanted, choice);
  const possible = choicesOf(wanted).flatMap((choice) =>
    rooms.filter((room) => able(room, choice)).map((room) => ({ room, choice })),
  );
  if (possible.length === 0) return undefined;
  const hasCards = possible.some(({ room, choice }) => !choice || mostCards(room, choice) >= choice.count);
  return hasCards ? 'cores' : 'cards';
}

interface Found {
  room: Room;
  cards: Card[];
}

/** The best place for the most wanted choice that has one. */
function findRoom(rooms: readonly Room[], wanted: Waiting): Found | undefined {
  const admitting = rooms.filter((room) => admits(room, wanted.organizationId));
  for (const choice of choicesOf(wanted)) {
    const [best] = admitting
      .filter((room) => fits(room, wanted, choice))
      .sort((a, b) => compare(scoreOf(a, wanted, choice), scoreOf(b, wanted, choice)));
    if (best) return { room: best, cards: choice ? pickCards(best, choice) : [] };
  }
  return undefined;
}

/**
 * Smaller is better. Work without cards stays off nodes that have some; work with cards goes where it leaves the fewest
 * behind, so that whole groups stay free for those who need many, and to real cards before simulated ones. Then the
 * fullest node that still has room, for the same reason; then by id, so that equal snapshots give equal plans.
 */
function scoreOf(room: Room, wanted: Waiting, choice: GpuChoice | undefined): (number | string)[] {
  const left =
    (room.millicores - wanted.millicores) / room.node.millicores +
    (room.memoryMib - wanted.memoryMib) / room.node.memoryMib;
  if (!choice) return [room.node.cards.length, left, room.node.nodeId];
  const cards = pickCards(room, choice);
  return [cards[0]?.simulated ? 1 : 0, mostCards(room, choice) - choice.count, left, room.node.nodeId];
}

function compare(a: (number | string)[], b: (number | string)[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at === -1 ? 0 : a[at]! < b[at]! ? -1 : 1;
}

/** Cards of one kind: real before simulated, the smallest group that suffices, lowest numbers first. */
function pickCards(room: Room, choice: GpuChoice): Card[] {
  const [kind = []] = kindsOf(room.cards, choice)
    .filter(({ length }) => length >= choice.count)
    .sort((a, b) => Number(a[0]!.simulated) - Number(b[0]!.simulated) || a.length - b.length);
  return [...kind].sort((a, b) => a.index - b.index).slice(0, choice.count);
}

/** The node that comes closest to what `wanted` needs, of those that could ever run it; with its free cards. */
function roomToKeep(rooms: readonly Room[], wanted: Waiting): Found | undefined {
  const admitting = rooms.filter((room) => admits(room, wanted.organizationId));
  for (const choice of choicesOf(wanted)) {
    const lacking = (room: Room) => [
      choice ? Math.max(0, choice.count - mostCards(room, choice)) : 0,
      Math.max(0, wanted.millicores - room.millicores) / room.node.millicores +
        Math.max(0, wanted.memoryMib - room.memoryMib) / room.node.memoryMib,
      room.node.nodeId,
    ];
    const [closest] = admitting
      .filter(({ node, organizationId }) => fits(emptyRoom(node, organizationId), wanted, choice))
      .sort((a, b) => compare(lacking(a), lacking(b)));
    if (!closest) continue;
    const [kind = []] = choice ? kindsOf(closest.cards, choice).sort((a, b) => b.length - a.length) : [];
    return { room: closest, cards: kind.slice(0, choice?.count) };
  }
  return undefined;
}
