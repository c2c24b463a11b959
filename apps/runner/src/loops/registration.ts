import type {
  HeartbeatRequest,
  RegisterNodeRequest,
  SchedulerServiceService,
} from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, type ClientOf, type Logger } from '@berth/service-kit';
import { Backoff } from '../files/backoff';

const ANSWER_MS = 5_000;

type Scheduler = Pick<ClientOf<typeof SchedulerServiceService>, 'registerNode' | 'heartbeat'>;

/** Keeps this node known to the scheduler: registers it, says that it lives, registers it again when it is forgotten. */
export class Registration {
  #beat: NodeJS.Timeout | undefined;
  #stopped = new AbortController();
  #registering: Promise<void> | undefined;
  #first = Promise.withResolvers<void>();

  constructor(
    private readonly scheduler: Scheduler,
    /** What this node is, as it stands now. */
    private readonly node: () => RegisterNodeRequest,
    /** The scheduler knows this node, by this id. */
    private readonly onRegistered: (nodeId: string) => void,
    private readonly log: Logger,
  ) {}

  start(): void {
    this.register();
  }

  /** Resolves with the first registration, or after `ms`: a scheduler may start later than its runners. */
  async settled(ms: number): Promise<void> {
    let late: NodeJS.Timeout | undefined;
    await Promise.race([this.#first.promise, new Promise((resolve) => (late = setTimeout(resolve, ms)))]);
    clearTimeout(late);
  }

  /** Registers (again). While that goes on, a repeat is the same registration. */
  register(): void {
    if (this.#stopped.signal.aborted) return;
    this.#registering ??= this.#register().finally(() => (this.#registering = undefined));
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    clearTimeout(this.#beat);
    await this.#registering;
  }

  async #register(): Promise<void> {
    const { signal } = this.#stopped;
    const backoff = new Backoff(50, 1000);
    let said = false;
    while (!signal.aborted) {
      try {
        const { nodeId, heartbeatIntervalMs } = await this.scheduler.registerNode(this.node(), {
          timeoutMs: ANSWER_MS,
        });
        if (signal.aborted) return;
        this.onRegistered(nodeId);
        this.#first.resolve();
        this.#beatAfter(heartbeatIntervalMs || 5000);
        return;
      } catch (error) {
        if (signal.aborted) return;
        // A scheduler that is not there yet is no news; one that refuses is.
        const absent = error instanceof BerthError && error.kind === 'unavailable';
        if (!said && !absent)
          this.log.warn({ err: error }, 'the scheduler does not register this node: trying again');
        said ||= !absent;
        await backoff.wait(signal);
      }
    }
  }

  #beatAfter(ms: number): void {
    clearTimeout(this.#beat);
    if (this.#stopped.signal.aborted) return;
    this.#beat = setTimeout(() => void this.#heartbeat(ms), ms).unref();
  }

  async #heartbeat(intervalMs: number): Promise<void> {
    const { nodeId, incarnation }: HeartbeatRequest = this.node();
    try {
      await this.scheduler.heartbeat({ nodeId, incarnation }, { timeoutMs: intervalMs });
    } catch (error) {
      if (error instanceof BerthError && (error.kind === 'precondition' || error.kind === 'not_found')) {
        this.log.info('the scheduler does not know this node any more: registering it again');
        return this.register();
      }
    }
    this.#beatAfter(intervalMs);
  }
}
