import type { FunctionsServiceService, InputFinished, Phase } from '@berth/contracts/functions/v1/functions';
import { Verdict } from '@berth/contracts/functions/v1/functions';
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { decodeInput, type InputMessage } from '@berth/events';
import {
  BerthError,
  extractTrace,
  injectTrace,
  isTracing,
  SpanKind,
  traced,
  type ClientOf,
  type Logger,
} from '@berth/service-kit';
import type { InputOutcome, WorkerConnection, WorkerItem } from '@berth/worker-protocol';
import {
  outcomeLost,
  outcomeSaid,
  SUSPECT_FROM_ATTEMPT,
  type AskedEnd,
  type Exit,
  type KillCause,
  type Outcome,
} from '../domain/ending';
import { Backoff } from '../files/backoff';
import type { Line } from '../line/line';
import { inputsCounter } from '../metrics';
import type { HeldMessage, SlotQueue } from '../queue/input-queue';
import type { Company } from './company';
import { serveWeb, WEB_FORMAT, type WebContext } from '../web/serve-web';

import { ItemStream } from './item-stream';

/** An outcome that comes sooner says all that a start would have said; so most inputs cost one word, not two. */
const TELL_START_MS = 10;
/** From asking user code to end to killing its container. */
const TIMEOUT_GRACE_MS = 2_000;
const CANCEL_GRACE_MS = 5_000;

/** What a slot knows of the container that it belongs to. */
export interface SlotContext {
  containerId: string;
  spec: ContainerSpec;
  worker: WorkerConnection;
  /** Of a web endpoint's container. */
  web: WebContext | undefined;
  line: Line;
  functions: Pick<ClientOf<typeof FunctionsServiceService>, 'getInputPayload'>;
  log: Logger;
  /** What runs in the container now, by input. */
  running: Map<string, RunningInput>;
  /** Who runs beside whom. */
  company: Company;
  /** An input said that it ends the process: the others are not to blame for what follows. */
  exitCalled: boolean;
  /** Aborted when no more inputs are to be begun; closes the slots' queues. */
  pulling: AbortSignal;
  /** Settles when the container has ended. */
  ended: Promise<{ exit: Exit; killed: KillCause | undefined }>;
  kill(cause: KillCause): void;
  /** How the container came to be; given once, to go with its first outcome. */
  takePhases(): Phase[];
}

export interface RunningInput {
  callId: string;
  attempt: number;
  /** It is held and does not run yet: it waits for its batch. */
  waits?: boolean;
  /** Asks user code to end, and kills its container where it does not. The first reason counts. */
  end(asked: AskedEnd): void;
}

/** A message whose input may run here. */
export interface TakenInput {
  message: HeldMessage;
  input: InputMessage & { payload: Uint8Array };
}

/** Takes inputs and runs them, one after the other, until no more are wanted. */
export async function runSlot(context: SlotContext, queue: SlotQueue): Promise<void> {
  const { company, line, pulling, worker } = context;
  while (!pulling.aborted) {
    if (!line.hasRoom) await line.room(pulling);
    const message = await queue.pull();
    if (!message) break;
    const taken = await takeInput(context, message);
    if (!taken) continue;
    const { input } = taken;
    const { web } = context;
    const leave = await company.enter(isSuspect(taken), pulling);
    if (pulling.aborted) {
      leave();
      giveBack(message);
      break;
    }
    await runInput(context, taken, (onItem, ending) => {
      const send = (payload: Uint8Array) =>
        isTracing()
          ? sendTraced(worker, { ...input, payload }, onItem)
          : worker.sendInput(input, payload, onItem);
      return web && input.format === WEB_FORMAT
        ? serveWeb(web, input, send, () => worker.cancel(input.inputId), ending)
        : send(input.payload);
    });
    leave();
  }
}

const count = (outcome: string) => inputsCounter.inc({ outcome });

/** The input of a message; undefined where it is not to run here: it was dropped, or given back. */
export async function takeInput(context: SlotContext, message: HeldMessage): Promise<TakenInput | undefined> {
  const input = decodeInput(message);
  if (!input) {
    context.log.warn({ subject: message.subject }, 'a message that is no input was dropped');
    message.ack();
    return undefined;
  }
  const attempt = message.redelivered ? await askAttempt(context, input) : input.attempt;
  const payload = attempt && (input.payload ?? (await fetchPayload(context, input.inputId)));
  if (context.pulling.aborted) {
    giveBack(message);
    return undefined;
  }
  if (!attempt || !payload) {
    message.ack();
    count('stale');
    return undefined;
  }
  return { message, input: { ...input, attempt, payload } };
}

/** Whether it was there when several containers were lost: the queue gives it out again, and not for the first time. */
export const isSuspect = ({ message, input }: TakenInput): boolean =>
  message.redelivered && input.attempt >= SUSPECT_FROM_ATTEMPT;

export function giveBack(message: HeldMessage): void {
  message.giveBack();
  count('returned');
}

/** Tells how an input ended. The next one need not wait for the verdict. Until it comes, the message is held. */
export function tellOutcome(
  { line, containerId }: SlotContext,
  { message, input }: TakenInput,
  outcome: Outcome,
  { startedAt, phases }: { startedAt: Date; phases: Phase[] },
): void {
  const finished: InputFinished = {
    inputId: input.inputId,
    attempt: input.attempt,
    containerId,
    startedAt,
    finishedAt: new Date(),
    outcome:
      outcome.kind === 'success'
        ? {
            $case: 'success',
            value: { payload: outcome.payload, format: outcome.format, blob: outcome.blob ?? '' },
          }
        : { $case: 'failure', value: outcome.error },
    phases,
  };
  void line.tellFinished(finished).then(({ verdict }) => {
    message.ack();
    count(verdict === Verdict.VERDICT_STALE ? 'stale' : finished.outcome!.$case);
  });
}

/** The attempt to run a redelivered input as; undefined where somebody else has it, or no more is to be begun. */
async function askAttempt(context: SlotContext, { inputId, attempt }: InputMessage) {
  const { line, containerId, pulling } = context;
  const asking = line.ask({
    inputId,
    attempt,
    containerId,
    startedAt: new Date(),
    redelivered: true,
    phases: [],
  });
  const answer = await Promise.race([asking, aborted(pulling)]);
  return answer?.verdict === Verdict.VERDICT_ACCEPTED ? answer.attempt : undefined;
}

/** A payload that was too large for the queue; undefined where its input is gone, or no more is to be begun. */
async function fetchPayload({ functions, pulling }: SlotContext, inputId: string) {
  const backoff = new Backoff(50, 1000);
  while (!pulling.aborted) {
    try {
      return (await functions.getInputPayload({ inputId })).payload;
    } catch (error) {
      if (error instanceof BerthError && error.kind === 'not_found') return undefined;
      await backoff.wait(pulling);
    }
  }
  return undefined;
}

/**
 * Runs user code by `send`, whose signal aborts with the reason when the input is to end, and tells the outcome, or gives the message back where it is to run elsewhere. `again`: the
 * handler raised for a batch that `mayRunAgain`, and nothing was told.
 */
export async function runInput(
  context: SlotContext,
  taken: TakenInput,
  send: (onItem: (item: WorkerItem) => void, ending: AbortSignal) => Promise<InputOutcome>,
  { mayRunAgain = false } = {},
): Promise<'done' | 'again'> {
  const { spec, worker, running, line, containerId, ended, log } = context;
  const { inputId, callId, attempt } = taken.input;
  const limits = { timeoutSeconds: spec.timeout, memoryMib: spec.memory };
  const startedAt = new Date();
  const phases = context.takePhases();
  let asked: AskedEnd | undefined;
  let grace: NodeJS.Timeout | undefined;
  let isDone = false;
  const ending = new AbortController();
  const end = (why: AskedEnd) => {
    if (asked) {
      if (why === 'timeout' && !grace) context.kill('overran');
      return;
    }
    asked = why;
    worker.cancel(inputId);
    ending.abort(why);
    // A client that leaves must not take a container from others: what does not hear of it may run until its time is over.
    if (why === 'cancelled' && taken.input.format === WEB_FORMAT) return;
    const graceMs = why === 'timeout' ? TIMEOUT_GRACE_MS : CANCEL_GRACE_MS;
    if (!isDone) grace = setTimeout(() => context.kill('overran'), graceMs);
  };
  running.set(inputId, { callId, attempt, end });
  const limit = setTimeout(() => end('timeout'), spec.timeout * 1000);
  const stopClocks = () => {
    isDone = true;
    clearTimeout(limit);
    clearTimeout(grace);
  };
  const tell = setTimeout(
    () => line.tellStarted({ inputId, attempt, containerId, startedAt, redelivered: false, phases }),
    TELL_START_MS,
  );
  let outcome: Outcome | undefined;
  let items: ItemStream | undefined;
  try {
    const said = await send((item) => {
      items ??= new ItemStream(context, { inputId, attempt }, end);
      items.take(item);
    }, ending.signal);
    // User code is done: however long its items wait for their verdict is not its time.
    stopClocks();
    // Looked at now: the others forget themselves as soon as the container has ended.
    const begun = [...running.values()].filter(({ waits }) => !waits).length;
    if (items) await items.settled();
    if (said.kind === 'lost') {
      const inCompany = begun > 1 || context.exitCalled;
      outcome = outcomeLost(await ended, { asked, attempt, inCompany }, limits);
    } else {
      if (said.kind === 'failure' && said.error.type === 'ProcessExit') context.exitCalled = true;
      if (said.kind === 'failure' && said.ofBatch && mayRunAgain && !asked) return 'again';
      outcome = outcomeSaid(said, asked, limits);
    }
  } catch (error) {
    log.error({ err: error, inputId, containerId }, 'an input could not be handed to its worker');
    const message = `The input could not be handed to its container: ${(error as Error).message}`;
    outcome = { kind: 'failure', error: { type: 'infrastructure', message, traceback: undefined } };
  } finally {
    stopClocks();
    clearTimeout(tell);
    running.delete(inputId);
  }
  if (outcome) tellOutcome(context, taken, outcome, { startedAt, phases });
  else giveBack(taken.message);
  return 'done';
}

/** The same in a span under the caller's, which the container's own spans are children of. */
const sendTraced = (
  worker: WorkerConnection,
  input: InputMessage & { payload: Uint8Array },
  onItem: (item: WorkerItem) => void,
): Promise<InputOutcome> =>
  traced(
    'run input',
    {
      kind: SpanKind.CONSUMER,
      attributes: { 'berth.input_id': input.inputId, 'berth.call_id': input.callId },
      ...(input.traceparent ? { parent: extractTrace({ traceparent: input.traceparent }) } : {}),
    },
    () => worker.sendInput({ ...input, ...injectTrace() }, input.payload, onItem),
  );

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
