/**
 * Containers wait for room that others hold. `scheduler` says so on core NATS when it finds it, and again every few
 * seconds for as long as it is so: a word that is lost, or comes late, is of no use to anybody and is kept nowhere.
 */

export const SHORT_ROOM = 'berth.short-room';

export interface ShortRoom {
  /** How many wait for cores or memory of nodes that could run them. */
  containers: number;
  /** How many wait for cards of such nodes. */
  withCards: number;
}

export const encodeShortRoom = (short: ShortRoom): Uint8Array => Buffer.from(JSON.stringify(short));

/** What cannot be read says that nothing is short. */
export function decodeShortRoom(data: Uint8Array): ShortRoom {
  try {
    const { containers, withCards } = JSON.parse(Buffer.from(data).toString('utf8')) as Partial<ShortRoom>;
    return {
      containers: Math.max(0, Number(containers) || 0),
      withCards: Math.max(0, Number(withCards) || 0),
    };
  } catch {
    return { containers: 0, withCards: 0 };
  }
}
