/**
 * What a generator yields, on its way to `functions`. One message of an input is under way at a time; what comes meanwhile
 * goes with the next one. The worker hears of what is recorded, and its generator stands still until then: so no more than
 * a worker's head start is ever here.
 */
import { Verdict } from '@berth/contracts/functions/v1/functions';
import type { WorkerConnection, WorkerItem } from '@berth/worker-protocol';
import { errorOfItem, type AskedEnd } from '../domain/ending';
import type { Line } from '../line/line';

/** As `functions` keeps results. Bytes. */
const ITEM_BYTES_MAX = 16 * 1024 * 1024;

export class ItemStream {
  #waiting: WorkerItem[] = [];
  #telling: Promise<void> | undefined;
  #isOver = false;

  constructor(
    private readonly parts: { line: Line; worker: WorkerConnection; containerId: string },
    private readonly on: { inputId: string; attempt: number },
    /** Ends the input: an item cannot be kept, or nobody wants it. */
    private readonly end: (why: AskedEnd) => void,
  ) {}

  take(item: WorkerItem): void {
    if (this.#isOver) return;
    const error = errorOfItem(item, ITEM_BYTES_MAX);
    if (error) {
      this.#isOver = true;
      return this.end(error);
    }
    this.#waiting.push(item);
    this.#telling ??= this.#tell().finally(() => (this.#telling = undefined));
  }

  /** Resolves when all that came is recorded: the outcome comes after the items. */
  async settled(): Promise<void> {
    await this.#telling;
  }

  async #tell(): Promise<void> {
    const { line, worker, containerId } = this.parts;
    while (this.#waiting.length > 0) {
      // A head start is at most as large as one message may be, and one item more.
      const items = this.#waiting.splice(0);
      const { verdict } = await line.tellItems({
        ...this.on,
        containerId,
        index: items[0]!.index,
        payloads: items.map(({ payload }) => payload),
        format: 'json',
      });
      if (verdict !== Verdict.VERDICT_ACCEPTED) {
        this.#isOver = true;
        this.#waiting = [];
        return this.end('cancelled');
      }
      worker.recorded(this.on.inputId, items.length);
    }
  }
}
