import {
  ContainerState,
  type Assignment,
  type SchedulerServiceService,
} from '@berth/contracts/scheduler/v1/scheduler';
import {
  assignmentConsumerName,
  assignmentSubject,
  consume,
  type Bus,
  type Consumption,
} from '@berth/events';
import { BerthError, type ClientOf, type Logger } from '@berth/service-kit';
import type { Containers } from '../containers/containers';
import { difference } from '../domain/assignments';
import { Backoff } from '../files/backoff';

/** The fall-back, for a hint that was lost. Milliseconds. */
const SCAN_MS = 10_000;
const RETRY_MS = 500;
const ANSWER_MS = 5_000;

type Scheduler = Pick<ClientOf<typeof SchedulerServiceService>, 'listAssignments'>;

/** Closes the difference between what this node should run and what it runs. Woken by hints; may run any time. */
export class Reconciler {
  #running: Promise<void> | undefined;
  #again = false;
  #scan: NodeJS.Timeout | undefined;
  #stopped = new AbortController();
  #hearing: { nodeId: string; consumption: Promise<Consumption | undefined> } | undefined;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly bus: Bus,
    private readonly containers: Containers,
    private readonly node: () => { nodeId: string; incarnation: string },
    private readonly registerAgain: () => void,
    private readonly log: Logger,
  ) {}

  /** The node is known by this id: hear of its assignments, and look now. */
  start(nodeId: string): void {
    this.#scan ??= setInterval(() => this.wake(), SCAN_MS).unref();
    if (this.#hearing?.nodeId !== nodeId) {
      void this.#hearing?.consumption.then((consumption) => consumption?.stop());
      this.#hearing = { nodeId, consumption: this.#hear(nodeId) };
    }
    this.wake();
  }

  wake(): void {
    if (this.#stopped.signal.aborted || !this.node().nodeId) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    clearInterval(this.#scan);
    const consumption = await this.#hearing?.consumption;
    await consumption?.stop();
    await this.#running;
  }

  async #hear(nodeId: string): Promise<Consumption | undefined> {
    const { signal } = this.#stopped;
    const backoff = new Backoff(200, 5000);
    while (!signal.aborted) {
      try {
        return await consume(
          this.bus,
          {
            stream: 'BERTH_ASSIGNMENTS',
            durable: assignmentConsumerName(nodeId),
            filter: assignmentSubject(nodeId),
            handle: async () => this.wake(),
          },
          this.log,
        );
      } catch (error) {
        if (!signal.aborted) this.log.warn({ err: error }, 'assignments cannot be heard yet: trying again');
        await backoff.wait(signal);
      }
    }
    return undefined;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (this.#again && !signal.aborted) {
      this.#again = false;
      try {
        const { assignments } = await this.scheduler.listAssignments(this.node(), { timeoutMs: ANSWER_MS });
        if (!signal.aborted) this.#close(assignments);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof BerthError && (error.kind === 'precondition' || error.kind === 'not_found')) {
          return this.registerAgain();
        }
        this.log.debug({ err: error }, 'assignments could not be listed: trying again soon');
        setTimeout(() => this.wake(), RETRY_MS).unref();
        return;
      }
    }
  }

  #close(assignments: Assignment[]): void {
    const { containers } = this;
    const todo = difference(assignments, containers.alive, containers.ended);
    for (const id of todo.forget) containers.forget(id);
    for (const id of todo.end) containers.get(id)?.kill('unwanted');
    for (const id of todo.drain) containers.get(id)?.drain();
    for (const assignment of todo.start) {
      if (assignment.stop) containers.report(assignment.containerId, ContainerState.CONTAINER_STATE_STOPPED);
      else this.#begin(assignment);
    }
  }

  /** What gets a card that another still has, whatever the scheduler knows of that one, begins when it is gone. */
  #begin(assignment: Assignment): void {
    const holders = this.containers.holdersOf(assignment.devices);
    if (holders.length === 0) return this.containers.begin(assignment);
    this.log.info(
      { containerId: assignment.containerId },
      'a container waits for the one before it on its card',
    );
    // Looked at anew then, for the list may be another.
    void Promise.all(holders.map(({ ended }) => ended)).then(() => this.wake());
  }
}
