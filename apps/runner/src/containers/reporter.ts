import type {
  ReportContainerRequest,
  SchedulerServiceService,
} from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, type ClientOf, type Logger } from '@berth/service-kit';
import { Backoff } from '../files/backoff';

export type Report = Pick<ReportContainerRequest, 'containerId' | 'state' | 'phases' | 'error'>;

/** The scheduler's own words for "this will never be taken". */
const FINAL = new Set<string>(['not_found', 'invalid', 'precondition', 'denied', 'unimplemented']);

/** Tells the scheduler what became of containers, for as long as it takes. A newer word goes over one that waits. */
export class Reporter {
  #latest = new Map<string, Report>();
  #sending = new Map<string, Promise<void>>();
  #closed = new AbortController();

  constructor(
    private readonly scheduler: Pick<ClientOf<typeof SchedulerServiceService>, 'reportContainer'>,
    private readonly node: () => { nodeId: string; incarnation: string },
    private readonly log: Logger,
  ) {}

  /** Resolves when this report, or a newer one of the container, has arrived or was refused. */
  report(report: Report): Promise<void> {
    const { containerId } = report;
    this.#latest.set(containerId, report);
    let sending = this.#sending.get(containerId);
    if (!sending) {
      sending = this.#send(containerId).finally(() => this.#sending.delete(containerId));
      this.#sending.set(containerId, sending);
    }
    return sending;
  }

  /** Gives up what has not arrived within `ms`: the scheduler finds out by the node's silence, or its next start. */
  async close(ms: number): Promise<void> {
    const late = setTimeout(() => this.#closed.abort(), ms);
    await Promise.all(this.#sending.values());
    clearTimeout(late);
  }

  async #send(containerId: string): Promise<void> {
    const backoff = new Backoff(100, 2000);
    for (;;) {
      const report = this.#latest.get(containerId);
      if (!report) return;
      try {
        await this.scheduler.reportContainer({ ...this.node(), ...report });
      } catch (error) {
        if (!(error instanceof BerthError && FINAL.has(error.kind))) {
          if (this.#closed.signal.aborted) return;
          await backoff.wait(this.#closed.signal);
          continue;
        }
        this.log.warn({ err: error, containerId }, 'the scheduler does not take a report');
      }
      if (this.#latest.get(containerId) !== report) continue;
      this.#latest.delete(containerId);
      return;
    }
  }
}
