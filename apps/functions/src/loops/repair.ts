/**
 * The slow fall-back for what events and the queue may have lost: an event that never came, a queue whose disk was
 * wiped. Also where queues of versions that nobody calls any more go away.
 */
import { ListContainersRequest } from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { finishEnding } from '../maps/end-map';
import { listHolders, listLongPending, republish } from '../store/input-store';
import { listEnding } from '../store/map-store';
import { listRetiring, markRetired } from '../store/pool-store';
import { dropQueue, isQueued } from '../waiting/queue';
import { reclaim } from './container-events';

const EVERY_MS = 15_000;
/** An input that waits or runs for less than this is left to the usual ways. */
const SETTLED_MS = 30_000;
/** Inputs whose message is looked up in one round. */
const LOOKUPS_MAX = 200;

export class Repair {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  /** Where the next round of look-ups begins. */
  private after = '';

  constructor(private readonly context: Context) {}

  start(): void {
    this.timer ??= setInterval(() => (this.running ??= this.round()), EVERY_MS);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private async round(): Promise<void> {
    const before = new Date(Date.now() - SETTLED_MS);
    try {
      await this.reclaimFromAbsent(before);
      await this.republishUnqueued(before);
      await this.endMaps();
      await this.retire();
    } catch (error) {
      this.context.log.warn({ err: error }, 'a round of repair ended early: the next one goes on');
    } finally {
      this.running = undefined;
    }
  }

  /** Inputs that run in a container of which the scheduler knows nothing any more. */
  async reclaimFromAbsent(before: Date): Promise<void> {
    const holders = await listHolders(this.context.db, before);
    const byFunction = Map.groupBy(holders, ({ function_id }) => function_id);
    for (const [functionId, held] of byFunction) {
      const alive = await this.liveContainers(functionId);
      for (const { container_id } of held)
        if (!alive.has(container_id)) await reclaim(this.context, container_id);
    }
  }

  private async liveContainers(functionId: string): Promise<Set<string>> {
    const alive = new Set<string>();
    let cursor = '';
    do {
      const { data, nextCursor } = await this.context.scheduler.listContainers(
        ListContainersRequest.fromPartial({ functionId, limit: 100, cursor }),
      );
      for (const { containerId } of data) alive.add(containerId);
      cursor = nextCursor;
    } while (cursor);
    return alive;
  }

  /** Inputs that wait though the queue has no message of them. */
  async republishUnqueued(before: Date): Promise<void> {
    const { db, bus, relay, log } = this.context;
    const inputs = await listLongPending(db, before, this.after, LOOKUPS_MAX);
    this.after = inputs.length < LOOKUPS_MAX ? '' : inputs.at(-1)!.id;
    for (const { id, function_id, version } of inputs) {
      if (await isQueued({ bus, log }, function_id, version, id)) continue;
      const row = await db.transact((tx) => republish(tx, id));
      if (!row) continue;
      log.warn({ inputId: id }, 'the queue had lost an input: it is published again');
      await relay.publish([row]);
    }
  }

  /** Maps that a process began to end, and died. To end one that another process is ending harms nothing. */
  async endMaps(): Promise<void> {
    for (const { id, cancelled } of await listEnding(this.context.db)) {
      await finishEnding(this.context, id, cancelled ? 'cancelled' : 'failed');
    }
  }

  private async retire(): Promise<void> {
    for (const { function_id, version } of await listRetiring(this.context.db)) {
      await this.context.db.transact(async (tx) => {
        const retired = await markRetired(tx, { functionId: function_id, version });
        if (retired) await dropQueue(this.context, function_id, version);
      });
    }
  }
}
