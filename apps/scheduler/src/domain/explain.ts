/** Why a container waits, in words that its owner can act on: what is missing, and what would start it. */
import { admits, choicesOf, emptyRoom, fits, kindsOf, mostCards, type Room, type Waiting } from './cluster';
import type { GpuChoice } from './gpu';

const cores = (millicores: number) => {
  const number = millicores / 1000;
  return `${number} ${number === 1 ? 'core' : 'cores'}`;
};
const mib = (memoryMib: number) => `${memoryMib} MiB of memory`;
const cardName = ({ model }: GpuChoice) => (model === 'ANY' ? 'card' : model);
const aCard = (choice: GpuChoice) =>
  choice.count > 1
    ? `${choice.count} ${cardName(choice)} on one node`
    : `${/^[AEFHILMNORSX]/.test(choice.model) && choice.model !== 'ANY' ? 'an' : 'a'} ${cardName(choice)}`;
const most = (rooms: readonly Room[], of: (room: Room) => number) => Math.max(0, ...rooms.map(of));

/** `rooms`: what is free now on each ready node, whoever it is kept for. Only what its organization may use is told. */
export function explain(wanted: Waiting, rooms: readonly Room[]): string {
  const own = rooms.filter((room) => admits(room, wanted.organizationId));
  if (own.length === 0) {
    return 'Waits for a node: none that it may run on is ready. It starts when one starts or comes back.';
  }
  const never = own.map(({ node, organizationId }) => emptyRoom(node, organizationId));
  const largest = most(never, ({ millicores }) => millicores);
  if (largest < wanted.millicores) {
    return `Needs ${cores(wanted.millicores)}, the largest node has ${cores(largest)}: no node can ever run it. It starts when a larger node is added.`;
  }
  const roomiest = most(never, ({ memoryMib }) => memoryMib);
  if (roomiest < wanted.memoryMib) {
    return `Needs ${mib(wanted.memoryMib)}, the largest node has ${roomiest} MiB: no node can ever run it. It starts when a larger node is added.`;
  }

  const able = (choice: GpuChoice | undefined) =>
    own.filter(({ node, organizationId }) => fits(emptyRoom(node, organizationId), wanted, choice));
  const possible = choicesOf(wanted).filter((choice) => able(choice).length > 0);
  if (possible.length === 0) {
    const missing = wanted.gpu.map((choice) => {
      const has = most(never, (room) => mostCards(room, choice));
      if (has === 0) return `${aCard(choice)}: no node has such a card`;
      if (has < choice.count) return `${aCard(choice)}: the node with most has ${has}`;
      return `${aCard(choice)}: no node that has them is large enough`;
    });
    if (missing.length === 0) {
      return `Needs ${cores(wanted.millicores)} and ${mib(wanted.memoryMib)} on one node: no node has both. It starts when a larger node is added.`;
    }
    return `Waits for ${missing.join('; or for ')}. It starts when a node that has this is added.`;
  }
  const lacks = possible.map((choice) => lackOf(wanted, choice, able(choice)));
  return `Waits for ${[...new Set(lacks)].join('; or for ')}. It starts when containers there end, or a node is added.`;
}

/** What is short right now on nodes that could run it. */
function lackOf(wanted: Waiting, choice: GpuChoice | undefined, able: readonly Room[]): string {
  let rooms = able;
  if (choice) {
    rooms = able.filter((room) => mostCards(room, choice) >= choice.count);
    if (rooms.length === 0) {
      const free = sum(able, (room) => sum(kindsOf(room.cards, choice), ({ length }) => length));
      const all = sum(able, ({ node }) => sum(kindsOf(node.cards, choice), ({ length }) => length));
      return `${choice.count} free ${cardName(choice)}: ${free} of ${all} ${free === 1 ? 'is' : 'are'} free on ${able.length} ${able.length === 1 ? 'node' : 'nodes'}`;
    }
  }
  const withMemory = rooms.filter(({ memoryMib }) => memoryMib >= wanted.memoryMib);
  if (withMemory.length === 0) {
    return `${mib(wanted.memoryMib)}: the node with most has ${most(rooms, ({ memoryMib }) => memoryMib)} MiB free`;
  }
  const withCores = withMemory.filter(({ millicores }) => millicores >= wanted.millicores);
  if (withCores.length === 0) {
    return `${cores(wanted.millicores)}: the node with most has ${cores(most(withMemory, ({ millicores }) => millicores))} free`;
  }
  return 'its turn: what it needs is free, but kept for a container that has waited longer';
}

const sum = <T>(items: readonly T[], of: (item: T) => number) =>
  items.reduce((total, item) => total + of(item), 0);
