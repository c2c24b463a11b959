/**
 * Usage of every container, from its start to its end, without a gap and without a second told twice.
 *
 * One file per container holds where its next interval begins and the intervals that JetStream has not acknowledged.
 * Cutting an interval is one rename, so a sequence number never stands for two different intervals, whenever this
 * process dies; and what an earlier process left running is closed by the next one.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { UsageInterval } from '@berth/contracts/billing/v1/billing';
import { decodeUsageEvent, encodeUsageEvent, type Bus } from '@berth/events';
import type { Logger } from '@berth/service-kit';
import { writeAtomically } from '../files/write-atomically';

/** Who held what: the part of an interval that does not change. */
export type Holding = Pick<
  UsageInterval,
  | 'containerId'
  | 'organizationId'
  | 'workspaceId'
  | 'appId'
  | 'functionId'
  | 'nodeId'
  | 'cpu'
  | 'memory'
  | 'gpu'
>;

interface Page {
  holding: Holding;
  sequence: number;
  /** Where the next interval begins; milliseconds since 1970. */
  from: number;
  closed: boolean;
  /** Cut and not acknowledged, oldest first: encoded intervals in base64. */
  pending: string[];
}

const INTERVAL_MS = 60_000;
const RETRY_MS = 5_000;
const PUBLISH_MS = 5_000;

export class UsageBook implements AsyncDisposable {
  #pages = new Map<string, Page>();
  /** Ended, and the disk did not take it yet. */
  #toClose = new Map<string, Date>();
  #flushing: Promise<void> | undefined;
  #again = false;
  #timers: NodeJS.Timeout[];

  constructor(
    private readonly folder: string,
    private readonly bus: Pick<Bus, 'jetstream'>,
    private readonly log: Logger,
    intervalMs = INTERVAL_MS,
  ) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder).filter((each) => each.endsWith('.json'))) {
      const page = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Page;
      this.#pages.set(page.holding.containerId, page);
    }
    this.#timers = [
      setInterval(() => this.cutAll(), intervalMs).unref(),
      // What could not be sent is tried again; costs nothing while there is none.
      setInterval(() => this.#retry(), RETRY_MS).unref(),
    ];
    if (this.#hasPending()) this.#flush();
  }

  /** A container begins to hold what it has. Throws where the disk does not take it: then it holds nothing. */
  open(holding: Holding, at: Date): void {
    const page: Page = { holding, sequence: 0, from: at.getTime(), closed: false, pending: [] };
    // First: a page that is not on disk would be billed for a container that its runner does not start.
    this.#write(page);
    this.#pages.set(holding.containerId, page);
  }

  /** It never ran: nothing was held. */
  discard(containerId: string): void {
    const page = this.#pages.get(containerId);
    if (page && page.pending.length === 0 && page.sequence === 0) this.#remove(page);
  }

  /** Its last interval. Safe to repeat: the first word counts. */
  close(containerId: string, at: Date): void {
    const page = this.#pages.get(containerId);
    if (!page || page.closed) return;
    const end = this.#toClose.get(containerId) ?? at;
    if (this.#cut(page, end, true)) this.#toClose.delete(containerId);
    else this.#toClose.set(containerId, end);
    this.#flush();
  }

  /** Containers that an earlier process opened, or this one, and nobody closed. */
  openContainers(): { containerId: string; lastSeenAt: Date }[] {
    return [...this.#pages.values()]
      .filter(({ closed }) => !closed)
      .map(({ holding, from }) => ({ containerId: holding.containerId, lastSeenAt: new Date(from) }));
  }

  /** Ends the present interval of every open container, and begins the next. */
  cutAll(now = new Date()): void {
    const open = [...this.#pages.values()].filter(({ closed, from }) => !closed && from < now.getTime());
    for (const page of open) this.#cut(page, now, false);
    if (open.length > 0) this.#flush();
  }

  /** Sends what is left. What cannot be sent now stays on disk for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    if (this.#hasPending()) this.#flush();
    await this.#flushing;
  }

  #retry(): void {
    for (const [containerId, at] of this.#toClose) this.close(containerId, at);
    if (this.#hasPending()) this.#flush();
  }

  /** False where the disk did not take it: then nothing has changed, and nothing was told. */
  #cut(page: Page, at: Date, last: boolean): boolean {
    // The clock may have been set back; time never runs backwards in a bill.
    const until = Math.max(at.getTime(), page.from);
    const interval = UsageInterval.fromPartial({
      ...page.holding,
      sequence: page.sequence,
      startedAt: new Date(page.from),
      endedAt: new Date(until),
      last,
    });
    const encoded = Buffer.from(encodeUsageEvent(interval).payload).toString('base64');
    const next: Page = {
      holding: page.holding,
      sequence: page.sequence + 1,
      from: until,
      closed: last,
      pending: [...page.pending, encoded],
    };
    try {
      this.#write(next);
    } catch (error) {
      this.log.error({ err: error, containerId: page.holding.containerId }, 'usage could not be written');
      return false;
    }
    Object.assign(page, next);
    return true;
  }

  #hasPending(): boolean {
    for (const { pending } of this.#pages.values()) if (pending.length > 0) return true;
    return false;
  }

  #flush(): void {
    this.#again = true;
    this.#flushing ??= this.#sendAll()
      .catch((error: unknown) => this.log.warn({ err: error }, 'usage waits on disk: it will be sent again'))
      .finally(() => (this.#flushing = undefined));
  }

  async #sendAll(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      for (const page of [...this.#pages.values()]) {
        const sending = [...page.pending];
        if (sending.length === 0) continue;
        await Promise.all(
          sending.map((kept) => {
            const { subject, messageId, payload } = encodeUsageEvent(
              decodeUsageEvent(Buffer.from(kept, 'base64')),
            );
            return this.bus.jetstream.publish(subject, payload, { msgID: messageId, timeout: PUBLISH_MS });
          }),
        );
        page.pending = page.pending.slice(sending.length);
        if (page.closed && page.pending.length === 0) this.#remove(page);
        else this.#write(page);
      }
    }
  }

  #pathOf({ holding }: Page): string {
    return join(this.folder, `${holding.containerId}.json`);
  }

  #write(page: Page): void {
    writeAtomically(this.#pathOf(page), JSON.stringify(page));
  }

  #remove(page: Page): void {
    this.#pages.delete(page.holding.containerId);
    rmSync(this.#pathOf(page), { force: true });
  }
}
