import type Docker from 'dockerode';

import { EngineError, type ContainerExit } from '../engine';
import { signalOf } from '../exit-code';
import { toEngineError } from './docker-error';
import type { DockerEvent, EventFeed } from './event-feed';

/** How long after a death by SIGKILL the kernel's reason may still arrive. Seen: under 10 ms. */
const OOM_NOTICE_MS = 250;

interface Waiter {
  promise: Promise<ContainerExit>;
  resolve(exit: ContainerExit): void;
  reject(error: Error): void;
}

/**
 * Tells how containers ended. An `oom` event and the `die` it causes come by different ways and in either order,
 * and Docker's own `OOMKilled` is set by the first: both are asked, and for a SIGKILL that nobody here sent the
 * notice is given a moment to arrive.
 */
export class ExitWatch {
  readonly #waiters = new Map<string, Waiter>();
  /** Containers in which the memory limit killed something; forgotten when they are removed. */
  readonly #outOfMemory = new Set<string>();
  /** Containers that this engine killed: their SIGKILL needs no explanation. */
  readonly #killed = new Set<string>();
  readonly #noticed = new Map<string, () => void>();

  constructor(
    private readonly docker: Docker,
    feed: EventFeed,
  ) {
    feed.onEvent((event) => this.#hear(event));
    feed.onResumed(() => {
      for (const id of this.#waiters.keys()) void this.#look(id);
    });
  }

  wait(id: string): Promise<ContainerExit> {
    const known = this.#waiters.get(id);
    if (known) return known.promise;
    const waiter: Waiter = Promise.withResolvers<ContainerExit>();
    // Registered before the look, so that an exit between the two is not missed.
    this.#waiters.set(id, waiter);
    void this.#look(id);
    return waiter.promise;
  }

  markKilled(id: string): void {
    this.#killed.add(id);
  }

  /** Ends every wait with `unavailable`. */
  close(): void {
    for (const waiter of this.#waiters.values()) {
      waiter.promise.catch(() => undefined);
      waiter.reject(new EngineError('unavailable', 'The engine was closed; open it again to wait on.'));
    }
    this.#waiters.clear();
  }

  #hear({ action, id, attributes }: DockerEvent): void {
    if (action === 'oom') {
      this.#outOfMemory.add(id);
      this.#noticed.get(id)?.();
    } else if (action === 'die') {
      if (this.#waiters.has(id)) void this.#look(id, Number(attributes.exitCode));
    } else if (action === 'destroy') {
      this.#outOfMemory.delete(id);
      this.#killed.delete(id);
      // A death comes before the removal and has been heard: this waiter's container never ran.
      const waiter = this.#waiters.get(id);
      if (waiter && !this.#noticed.has(id)) void this.#look(id);
    }
  }

  /** Settles the waiter if the container has ended or is gone. `diedWith`: the event's own exit code. */
  async #look(id: string, diedWith?: number): Promise<void> {
    try {
      const { State } = await this.docker.getContainer(id).inspect();
      // One that never started can also be seen on its way out; its `destroy` looks again.
      if (State.Running || State.StartedAt.startsWith('0001-')) return;
      const outOfMemory = State.OOMKilled || (await this.#wasOutOfMemory(id, State.ExitCode));
      this.#settle(id, State.ExitCode, outOfMemory, new Date(State.FinishedAt));
    } catch (error) {
      const failure = toEngineError(error, `wait for container ${id.slice(0, 12)}`);
      if (failure.kind === 'unavailable') return; // `resumed` looks again.
      if (failure.kind === 'not_found' && diedWith !== undefined) {
        return this.#settle(id, diedWith, this.#outOfMemory.has(id), new Date());
      }
      this.#waiters.get(id)?.reject(failure);
      this.#waiters.delete(id);
    }
  }

  async #wasOutOfMemory(id: string, exitCode: number): Promise<boolean> {
    if (this.#outOfMemory.has(id)) return true;
    if (exitCode !== 137 || this.#killed.has(id)) return false;
    const notice = Promise.withResolvers<void>();
    this.#noticed.set(id, notice.resolve);
    const timer = setTimeout(notice.resolve, OOM_NOTICE_MS);
    await notice.promise;
    clearTimeout(timer);
    this.#noticed.delete(id);
    return this.#outOfMemory.has(id);
  }

  #settle(id: string, exitCode: number, outOfMemory: boolean, finishedAt: Date): void {
    const signal = signalOf(exitCode);
    this.#waiters.get(id)?.resolve({ exitCode, ...(signal ? { signal } : {}), outOfMemory, finishedAt });
    this.#waiters.delete(id);
  }
}
