/** What a placement is decided on: nodes as they are, and what waits. Nothing here changes either. */
import { matches, type GpuChoice } from './gpu';

export interface Card {
  deviceId: string;
  index: number;
  model: string;
  simulated: boolean;
  free: boolean;
}

/** A node that is ready. */
export interface NodeSnapshot {
  nodeId: string;
  /** Null: any organization may run there. */
  organizationId: string | null;
  /** False: containers are plain processes of one host, so all must belong to one organization. */
  isolated: boolean;
  millicores: number;
  memoryMib: number;
  millicoresFree: number;
  memoryMibFree: number;
  cards: readonly Card[];
}

/** A container that waits for a place. */
export interface Waiting {
  containerId: string;
  organizationId: string;
  millicores: number;
  memoryMib: number;
  /** The most wanted first; empty: it needs no card. */
  gpu: readonly GpuChoice[];
  waitedMs: number;
}

/** What is left of a node while a plan is made. */
export interface Room {
  node: NodeSnapshot;
  organizationId: string | null;
  millicores: number;
  memoryMib: number;
  cards: readonly Card[];
}

/** A node as if nothing ran on it: whether something can *ever* run there. */
export const emptyRoom = (node: NodeSnapshot, organizationId: string | null): Room => ({
  node,
  organizationId,
  millicores: node.millicores,
  memoryMib: node.memoryMib,
  cards: node.cards,
});

export const freeRoom = (node: NodeSnapshot): Room => ({
  node,
  organizationId: node.organizationId,
  millicores: node.millicoresFree,
  memoryMib: node.memoryMibFree,
  cards: node.cards.filter(({ free }) => free),
});

/** Whether containers of this organization may run there at all. */
export const admits = (room: Room, organizationId: string): boolean =>
  room.organizationId === null || room.organizationId === organizationId;

/** The cards that could serve `choice`, by kind: one container gets cards of one model, and never real beside simulated. */
export function kindsOf(cards: readonly Card[], choice: GpuChoice): Card[][] {
  const kinds = new Map<string, Card[]>();
  for (const card of cards) {
    if (!matches(choice, card.model)) continue;
    const kind = `${card.simulated} ${card.model.toUpperCase()}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), card]);
  }
  return [...kinds.values()];
}

/** The most cards of one kind that a room has for `choice`. */
export const mostCards = (room: Room, choice: GpuChoice): number =>
  Math.max(0, ...kindsOf(room.cards, choice).map(({ length }) => length));

/** Whether cores, memory and cards suffice. Without a choice, cards do not matter. */
export const fits = (room: Room, wanted: Waiting, choice: GpuChoice | undefined): boolean =>
  room.millicores >= wanted.millicores &&
  room.memoryMib >= wanted.memoryMib &&
  (!choice || mostCards(room, choice) >= choice.count);

/** The choices in order; one that asks for nothing when no card is needed. */
export const choicesOf = (wanted: Waiting): (GpuChoice | undefined)[] =>
  wanted.gpu.length > 0 ? [...wanted.gpu] : [undefined];
