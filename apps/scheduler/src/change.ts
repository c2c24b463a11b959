import type { Database, Sql } from '@berth/database';
import {
  assignmentSubject,
  encodeContainerEvent,
  type OutboxRow,
  type Relay,
  type ShortRoom,
} from '@berth/events';
import type { Logger } from '@berth/service-kit';
import { isFinal } from './domain/container-state';
import { containerStates, placementSeconds } from './metrics';
import { containerToProto } from './rpc/to-proto';
import { viewContainers, type ContainerView } from './store/container-store';
import { writeOutbox, type Message } from './store/outbox';

/** A transaction in which containers change. */
export interface Change {
  tx: Sql;
  now: Date;
  /** These came into another state: an event says so. */
  say(ids: readonly string[]): void;
  /** The same, and their nodes are told that they have something to do. */
  tell(ids: readonly string[]): void;
  /** Room that others hold is short: said after the commit, to whoever listens. */
  shortOf(short: ShortRoom): void;
}

export interface Changes {
  /**
   * Runs `work` in a transaction, with the events of what it changed: one for each container, of the state that it has
   * in the end. They are published right after the commit; the caller does not wait for that.
   */
  change<T>(work: (change: Change) => Promise<T>): Promise<T>;
  /** Resolves when what was being published is out, or left to the relay. */
  settle(): Promise<void>;
}

interface Parts {
  db: Database;
  relay: Relay;
  clock: () => Date;
  log: Logger;
  /** A container ended: there may be room. */
  onRoom: () => void;
  sayShort: (short: ShortRoom) => void;
}

export function createChanges({ db, relay, clock, log, onRoom, sayShort }: Parts): Changes {
  const publishing = new Set<Promise<void>>();

  const publish = (rows: OutboxRow[]) => {
    const work = relay
      .publish(rows)
      .catch((err: unknown) => log.warn({ err }, 'events stay in the outbox: the relay publishes them'))
      .finally(() => publishing.delete(work));
    publishing.add(work);
  };

  return {
    async change(work) {
      const said = new Set<string>();
      const told = new Set<string>();
      let short: ShortRoom | undefined;
      const done = await db.transact(async (tx) => {
        const result = await work({
          tx,
          now: clock(),
          say: (ids) => ids.forEach((id) => said.add(id)),
          tell: (ids) => ids.forEach((id) => said.add(id) && told.add(id)),
          shortOf: (what) => (short = what),
        });
        const changed = said.size === 0 ? [] : await viewContainers(tx, [...said]);
        // Nodes first: a container that starts is what somebody waits for.
        const messages = [
          ...changed.filter(({ id }) => told.has(id)).flatMap(hint),
          ...changed.map((view) => encodeContainerEvent(containerToProto(view))),
        ];
        return { result, changed, rows: await writeOutbox(tx, messages) };
      });
      if (done.rows.length > 0) publish(done.rows);
      if (short) sayShort(short);
      for (const view of done.changed) count(view);
      if (done.changed.some(({ state }) => isFinal(state))) onRoom();
      return done.result;
    },

    async settle() {
      await Promise.all(publishing);
    },
  };
}

/** The runner re-reads its assignments; the id is for its log. */
const hint = ({ id, node_id }: ContainerView): Message[] =>
  node_id
    ? [{ subject: assignmentSubject(node_id), payload: Buffer.from(JSON.stringify({ container_id: id })) }]
    : [];

function count({ state, created_at, placed_at }: ContainerView): void {
  containerStates.inc({ state });
  if (state === 'assigned' && placed_at) {
    placementSeconds.observe((placed_at.getTime() - created_at.getTime()) / 1000);
  }
}
