/**
 * Turns waiting inputs into wishes: how many containers of a function version there should be. What counts is in
 * Postgres, where replicas decide one after the other; memory only says when a look is worth its while, so that a
 * call to a warm function costs none. A slow scan finds what a process that died left undecided.
 */
import { ListContainersRequest, SetWishRequest } from '@berth/contracts/scheduler/v1/scheduler';
import { isId, type Database } from '@berth/database';
import type { ShortRoom } from '@berth/events';
import type { Logger } from '@berth/service-kit';
import { imageFailure } from '../domain/image-waiting';
import { choosePoolsToYield, decidePool, inputsPerContainer, neededContainers } from '../domain/pool';
import { findVersion, type VersionInApp } from '../store/function-store';
import { findImage } from '../store/image-store';
import { failPending, terminateVersion } from '../store/input-store';
import {
  listActivePools,
  listBusy,
  listHolding,
  lockPool,
  markHeard,
  writeWish,
  type PoolKey,
} from '../store/pool-store';
import type { CallView } from '../store/call-store';
import type { Scheduler } from '../context';
import type { RunnerLines } from '../line/runner-lines';
import type { WaitingCallers } from '../waiting/waiting-callers';
import { specOf } from './container-spec';
import { APP_STOPPED, FUNCTION_DELETED } from './end-app';

interface Parts {
  db: Database;
  scheduler: Pick<Scheduler, 'setWish' | 'listContainers'>;
  lines: RunnerLines;
  waiting: WaitingCallers;
  log: Logger;
}

/** What this process remembers of a pool since it last decided about it. */
interface Memory {
  key: PoolKey;
  /** Inputs that it has containers for, and the most that it may have them for. */
  capacity: number;
  capacityMax: number;
  /** Inputs that idle containers are kept for while it is in use. */
  buffer: number;
  /** Open inputs as far as this process knows. */
  open: number;
  /** A container of it ended, or this process has just started. */
  refill: boolean;
  /** Others wait for room: idle containers go before their time. */
  yields: boolean;
  /** Containers as the scheduler last named them, less those that have ended; undefined before it did. */
  containers: Set<string> | undefined;
  deciding: Promise<void> | undefined;
  again: boolean;
}

const SCAN_MS = 2000;

export class Autoscaler {
  private readonly pools = new Map<string, Memory>();
  private timer: NodeJS.Timeout | undefined;
  private scanning: Promise<void> | undefined;
  private stopped = false;

  constructor(private readonly parts: Parts) {}

  start(): void {
    this.timer ??= setInterval(() => (this.scanning ??= this.scan()), SCAN_MS);
    this.timer.unref();
    this.scanning ??= this.scan();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.timer);
    await this.scanning;
    await Promise.all([...this.pools.values()].map(({ deciding }) => deciding));
  }

  /** Inputs were accepted: looks at once if there may be no container for them. */
  accepted(functionId: string, version: number, inputs = 1): void {
    const memory = this.memoryOf({ functionId, version });
    memory.open += inputs;
    if (memory.open + memory.buffer > memory.capacity && memory.capacity < memory.capacityMax)
      this.decide(memory);
  }

  /** Inputs have ended, or wait to be tried again. */
  ended(calls: readonly Pick<CallView, 'function_id' | 'version'>[]): void {
    for (const { function_id, version } of calls) {
      const memory = this.pools.get(nameOf(function_id, version));
      if (memory && memory.open > 0) memory.open--;
    }
  }

  /** Something happened that may change what a pool should have. */
  consider(functionId: string, version: number, { yields = false } = {}): void {
    const memory = this.memoryOf({ functionId, version });
    memory.yields ||= yields;
    this.decide(memory);
  }

  /** One of its containers is gone: it is replaced where it is needed. */
  containerEnded(functionId: string, version: number, containerId: string): void {
    const memory = this.memoryOf({ functionId, version });
    memory.containers?.delete(containerId);
    memory.refill = true;
    this.decide(memory);
  }

  /** Containers wait for room: idle ones that hold it go before their time, the longest unneeded first. */
  async yieldIdle({ containers, withCards }: ShortRoom): Promise<void> {
    const holding = (await listHolding(this.parts.db)).map((row) => ({
      ...row,
      neededAt: row.needed_at.getTime(),
      needed: neededContainers({
        open: row.open,
        slots: inputsPerContainer(row),
        minContainers: row.min_containers,
        maxContainers: row.max_containers,
        bufferContainers: row.buffer_containers,
        current: row.current,
      }),
    }));
    const chosen = [
      ...choosePoolsToYield(holding, containers),
      // A container without cards has none to give.
      ...choosePoolsToYield(
        holding.filter(({ holds_cards }) => holds_cards),
        withCards,
      ),
    ];
    for (const { function_id, version } of chosen) this.consider(function_id, version, { yields: true });
  }

  private memoryOf(key: PoolKey): Memory {
    const name = nameOf(key.functionId, key.version);
    let memory = this.pools.get(name);
    if (!memory) {
      memory = {
        key,
        capacity: 0,
        capacityMax: Infinity,
        buffer: 0,
        open: 0,
        refill: true,
        yields: false,
        containers: undefined,
        deciding: undefined,
        again: false,
      };
      this.pools.set(name, memory);
    }
    return memory;
  }

  private decide(memory: Memory): void {
    if (this.stopped) return;
    memory.again = true;
    memory.deciding ??= this.decideUntilQuiet(memory).finally(() => (memory.deciding = undefined));
  }

  private async decideUntilQuiet(memory: Memory): Promise<void> {
    while (memory.again && !this.stopped) {
      memory.again = false;
      const { functionId, version } = memory.key;
      await this.decideOnce(memory).catch((error: unknown) => {
        // The scan comes by again: here nothing is lost but time.
        this.parts.log.warn({ err: error, functionId, version }, 'a pool could not be decided about');
      });
    }
  }

  private async decideOnce(memory: Memory): Promise<void> {
    const { db } = this.parts;
    const { key } = memory;
    const version = await findVersion(db, key.functionId, key.version);
    if (!version) return;
    if (version.ended) await this.terminate(key, version.deleted ? FUNCTION_DELETED : APP_STOPPED);
    // What has ended lets its containers go, whatever became of its image.
    const mayGrow = version.ended || (await this.hasImage(version));

    const slots = inputsPerContainer(version.definition);
    memory.capacityMax = version.definition.max_containers * slots;
    memory.buffer = version.definition.buffer_containers * slots;
    const now = Date.now();
    const { refill, yields } = memory;
    memory.refill = false;
    memory.yields = false;
    const decided = await db
      .transact(async (tx) => {
        const pool = await lockPool(tx, key, memory.capacityMax + 1);
        if (!pool) return undefined;
        // Nothing was ever wished for: nothing is there.
        if (pool.revision === '0') memory.containers ??= new Set();
        const { wish, neededAt, tell } = decidePool(
          {
            open: pool.open,
            slots,
            minContainers: version.definition.min_containers,
            maxContainers: version.definition.max_containers,
            bufferContainers: version.definition.buffer_containers,
            scaledownMs: version.definition.scaledown_window * 1000,
            current: version.current,
            wish: pool.wish,
            alive: refill ? memory.containers?.size : pool.wish,
            neededAt: pool.needed_at.getTime(),
            failures: pool.failures,
            failedAt: pool.failed_at.getTime(),
            failedByUser: pool.failed_by_user,
            yields,
            mayGrow,
          },
          now,
        );
        const noted = Math.abs(neededAt - pool.needed_at.getTime()) < NEEDED_AT_GRAIN_MS;
        const revision =
          tell || !noted
            ? await writeWish(tx, key, { wish, neededAt: new Date(neededAt), tell })
            : BigInt(pool.revision);
        return { wish, revision, heard: revision === BigInt(pool.heard_revision), open: pool.open };
      })
      .catch((error: unknown) => {
        memory.refill ||= refill;
        throw error;
      });
    if (!decided) return;

    memory.open = decided.open;
    memory.capacity = decided.wish * slots;
    if (!decided.heard) await this.tell(memory, version, decided);
    // It rests, and nobody knows yet how many containers there are.
    else memory.refill ||= refill && memory.containers === undefined;
    if (decided.wish === 0 && decided.open === 0 && !memory.again) {
      this.pools.delete(nameOf(key.functionId, key.version));
    }
  }

  /**
   * Whether containers can be made of its image. Until it is built no more are asked for; calls of one that cannot be built
   * end with that.
   */
  private async hasImage({ definition, workspace_id, function_id, version }: VersionInApp): Promise<boolean> {
    const { db, waiting } = this.parts;
    if (!isId('im', definition.image)) return true;
    const image = await findImage(db, workspace_id, definition.image);
    if (image?.state === 'ready') return true;
    if (image && image.state !== 'failed') return false;
    const failure = imageFailure(definition.image, image);
    for await (const failed of failPending(db, function_id, version, failure)) {
      waiting.announce(failed);
      this.ended(failed);
    }
    return false;
  }

  /** What was accepted while the app was being stopped, or the function deleted. */
  private async terminate({ functionId, version }: PoolKey, reason: string): Promise<void> {
    const { db, waiting, lines } = this.parts;
    for await (const terminated of terminateVersion(db, functionId, version, reason)) {
      waiting.announce(terminated);
      lines.cancel(terminated.map(({ input_id }) => input_id));
    }
  }

  private async tell(
    memory: Memory,
    version: Parameters<typeof specOf>[0],
    { wish, revision }: { wish: number; revision: bigint },
  ): Promise<void> {
    const { db, scheduler } = this.parts;
    const known = memory.containers ?? (await this.liveContainers(memory.key));
    const busy = wish < known.size ? new Set(await listBusy(db, memory.key)) : new Set();
    const { containers } = await scheduler.setWish(
      SetWishRequest.fromPartial({
        owner: nameOf(memory.key.functionId, memory.key.version),
        spec: specOf(version),
        containers: wish,
        revision,
        // Ids sort by time, and the oldest of those that are idle goes first.
        idle: wish < known.size ? [...known].filter((id) => !busy.has(id)).sort() : [],
      }),
    );
    memory.containers = new Set(containers.map(({ containerId }) => containerId));
    await markHeard(db, memory.key, revision);
  }

  private async liveContainers({ functionId, version }: PoolKey): Promise<Set<string>> {
    const { data } = await this.parts.scheduler.listContainers(
      ListContainersRequest.fromPartial({ functionId, limit: 100 }),
    );
    return new Set(data.filter((each) => each.version === version).map(({ containerId }) => containerId));
  }

  private async scan(): Promise<void> {
    try {
      for (const { function_id, version } of await listActivePools(this.parts.db)) {
        this.consider(function_id, version);
      }
    } catch (error) {
      this.parts.log.warn({ err: error }, 'could not look for pools to decide about: trying again soon');
    } finally {
      this.scanning = undefined;
    }
  }
}

/** A pool that is in use is written to no more often than this. */
const NEEDED_AT_GRAIN_MS = 500;

const nameOf = (functionId: string, version: number): string => `${functionId}/${version}`;
