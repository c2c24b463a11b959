/**
 * Inputs that a container takes in batches: one call of the handler for several. Each input keeps its own attempt,
 * outcome and cancellation.
 *
 * When the handler raises for a batch, each of its inputs is run alone once, and only what fails alone fails. An input
 * that the queue gives out again is run alone from the start: it may be what brought its last container down, and then
 * the others of a batch would go down with it again.
 */
import type { InputOutcome } from '@berth/worker-protocol';
import { outcomeCancelled } from '../domain/ending';
import type { SlotQueue } from '../queue/input-queue';
import {
  giveBack,
  isSuspect,
  runInput,
  takeInput,
  tellOutcome,
  type SlotContext,
  type TakenInput,
} from './slot';

/** What travels to a worker in one frame. Bytes. */
const BATCH_BYTES_MAX = 24 * 1024 * 1024;

/** Gathers inputs and runs them, batch after batch, until no more are wanted. */
export async function runBatchSlot(context: SlotContext, queue: SlotQueue): Promise<void> {
  const { company, line, pulling, spec } = context;
  const { maxBatchSize, waitMs } = spec.batching!;
  while (!pulling.aborted) {
    if (!line.hasRoom) await line.room(pulling);
    const first = await queue.pull();
    if (!first) break;
    const waiting = new Waiting(context);
    const taking = [takeInput(context, first).then((taken) => waiting.add(taken))];
    if (!first.redelivered) {
      const rest = await queue.gather(maxBatchSize - 1, waitMs);
      taking.push(...rest.map((message) => takeInput(context, message).then((taken) => waiting.add(taken))));
    }
    const taken = (await Promise.all(taking)).filter((each) => each !== undefined);
    for (const batch of cutBatches(taken)) {
      const leave = await company.enter(batch.some(isSuspect), pulling);
      await runBatch(context, waiting, batch);
      leave();
    }
  }
}

/** Inputs that this slot holds and does not run just now: who cancels one takes it out of its batch. */
class Waiting {
  readonly #cancelled = new Set<string>();

  constructor(private readonly context: SlotContext) {}

  add<T extends TakenInput | undefined>(taken: T): T {
    if (!taken) return taken;
    const { inputId, callId, attempt } = taken.input;
    const end = () => void this.#cancelled.add(inputId);
    this.context.running.set(inputId, { callId, attempt, waits: true, end });
    return taken;
  }

  /** Whether it may begin. Where it may not its outcome is told. */
  begin(taken: TakenInput): boolean {
    const { inputId } = taken.input;
    this.context.running.delete(inputId);
    if (!this.#cancelled.has(inputId)) return true;
    tellOutcome(this.context, taken, outcomeCancelled(), { startedAt: new Date(), phases: [] });
    return false;
  }

  /** Gives back what has not begun: it runs elsewhere. */
  giveBack({ message, input }: TakenInput): void {
    this.context.running.delete(input.inputId);
    giveBack(message);
  }
}

/** What one call of the handler takes, in the order of arrival. */
function cutBatches(taken: readonly TakenInput[]): TakenInput[][] {
  const batches: TakenInput[][] = [];
  let bytes = Infinity;
  for (const each of taken.filter(({ message }) => !message.redelivered)) {
    const size = each.input.payload.byteLength;
    if (bytes + size > BATCH_BYTES_MAX) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)!.push(each);
    bytes += size;
  }
  const alone = taken.filter(({ message }) => message.redelivered).map((each) => [each]);
  return [...batches, ...alone];
}

async function runBatch(context: SlotContext, waiting: Waiting, batch: TakenInput[]): Promise<void> {
  if (context.pulling.aborted) return batch.forEach((each) => waiting.giveBack(each));
  const open = batch.filter((each) => waiting.begin(each));
  if (open.length === 0) return;
  const sent = send(context, open);
  const ends = await Promise.all(
    open.map(async (each, index) => {
      const end = await runInput(context, each, () => sent[index]!, { mayRunAgain: open.length > 1 });
      if (end === 'again') waiting.add(each);
      return end;
    }),
  );
  // They have begun, so they also end here where no more are to be begun.
  for (const each of open.filter((_, index) => ends[index] === 'again')) {
    if (!waiting.begin(each)) continue;
    const [alone] = send(context, [each]);
    await runInput(context, each, () => alone!);
  }
}

/** Hands a batch to the worker; the outcome of each input. */
function send({ worker }: SlotContext, batch: TakenInput[]): Promise<InputOutcome>[] {
  try {
    return worker.sendBatch(batch.map(({ input }) => ({ input, payload: input.payload })));
  } catch (error) {
    return batch.map(() => Promise.reject(error as Error));
  }
}
