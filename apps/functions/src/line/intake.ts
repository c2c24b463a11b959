/**
 * What a runner says, and what follows from it. Messages of one input are handled one after the other, those of
 * different inputs beside each other. A message that could not be handled (Postgres went away) breaks the line: the
 * runner makes a new one and says it again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  Verdict,
  type InputFinished,
  type InputStarted,
  type InputSuccess,
  type Phase as PhaseMessage,
} from '@berth/contracts/functions/v1/functions';
import type { Database } from '@berth/database';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { isBlob, isFormat, isJson, PAYLOAD_BYTES_MAX } from '../domain/payload';
import type { Phase } from '../domain/phases';
import { readableError, type InputError } from '../domain/outcome';
import type { CallView } from '../store/call-store';
import {
  endedAmong,
  findWorkspace,
  grantRedelivery,
  isRecorded,
  markStarted,
  recordFailure,
  recordSuccess,
  type Finished,
} from '../store/input-store';
import { deleteItemsFrom } from '../store/item-store';
import { composeItems, ITEMS_FORMAT } from './item-intake';
import { tellCancelled, type RunnerLine } from './runner-lines';

export interface Answer {
  verdict: Verdict;
  attempt: number;
}

const accepted = (attempt = 0): Answer => ({ verdict: Verdict.VERDICT_ACCEPTED, attempt });
const stale: Answer = { verdict: Verdict.VERDICT_STALE, attempt: 0 };

type Parts = Pick<Context, 'db' | 'sync' | 'relay' | 'waiting' | 'autoscaler' | 'retries' | 'log'>;

/** It begins. A first delivery runs already; a redelivery waits for this answer. */
export async function takeStarted(
  { db }: Pick<Parts, 'db'>,
  line: RunnerLine,
  { inputId, attempt, containerId, startedAt, redelivered, phases }: InputStarted,
): Promise<Answer> {
  const on = { inputId, attempt, containerId, containerPhases: phases.map(phaseFromProto) };
  const at = startedAt ?? new Date();
  if (redelivered) {
    const granted = await grantRedelivery(db, on, at);
    return granted === undefined ? stale : accepted(granted);
  }
  if (await markStarted(db, on, at)) return accepted();
  // Cancelled between the queue and the container: the runner works for nothing.
  if ((await endedAmong(db, [inputId])).length > 0) tellCancelled(line, inputId);
  return stale;
}

/**
 * It ended. Recorded once: whoever comes second, or under a superseded attempt, is stale. Where it cannot be checked yet
 * it waits until it can, or the line has ended.
 */
export async function takeFinished(
  parts: Parts,
  message: InputFinished,
  lineEnded: AbortSignal,
): Promise<Answer> {
  const { db, relay, waiting, autoscaler, retries, log } = parts;
  const { inputId, attempt, containerId } = message;
  const { outcome, items } = await gatherItems(db, message);
  const finishedAt = message.finishedAt ?? new Date();
  const on: Finished = {
    inputId,
    attempt,
    containerId,
    startedAt: message.startedAt ?? finishedAt,
    finishedAt,
    containerPhases: message.phases.map(phaseFromProto),
  };
  const failure = failureOf(outcome) ?? (await failureOfBlob(parts, { inputId, outcome }, lineEnded));
  if (outcome?.$case === 'success' && !failure) {
    const call = await keepSuccess(db, on, outcome.value, items);
    if (!call) return (await isRecorded(db, on)) ? accepted() : stale;
    waiting.announce([call]);
    autoscaler.ended([call]);
    return accepted();
  }

  const record = await db.transact((tx) => recordFailure(tx, on, failure!));
  if (record.kind === 'stale') return (await isRecorded(db, on)) ? accepted() : stale;
  if (record.kind === 'delayed') {
    autoscaler.ended([{ function_id: record.functionId, version: record.version }]);
    retries.wake(record.afterMs);
    return accepted();
  }
  if (record.kind === 'retried') {
    relay
      .publish([record.outbox])
      .catch((error: unknown) => log.warn({ err: error, inputId }, 'a retry waits in the outbox'));
    return accepted();
  }
  waiting.announce([record.call]);
  autoscaler.ended([record.call]);
  return accepted();
}

const phaseFromProto = ({ name, startedAt, durationMs }: PhaseMessage): Phase => ({
  name,
  startedAt: startedAt?.getTime() ?? 0,
  durationMs,
});

interface Gathered {
  outcome: InputFinished['outcome'];
  /** Of a generator: how many items its result has. */
  items?: number;
}

/** The outcome; of a generator, with the list of its items as the result. */
async function gatherItems(db: Database, { inputId, outcome }: InputFinished): Promise<Gathered> {
  if (outcome?.$case !== 'success' || outcome.value.format !== ITEMS_FORMAT) return { outcome };
  const composed = await composeItems(db, inputId, outcome.value);
  if (composed) return { outcome: { $case: 'success', value: composed.success }, items: composed.count };
  return {
    outcome: { $case: 'failure', value: { ...resultInvalid('lacks items'), traceback: undefined } },
  };
}

/** Records a success. Of a generator, in one step with what its readers then see: the items that the result has. */
async function keepSuccess(
  db: Database,
  on: Finished,
  result: InputSuccess,
  items: number | undefined,
): Promise<CallView | undefined> {
  if (items === undefined) return recordSuccess(db, on, result);
  return db.transact(async (tx) => {
    const call = await recordSuccess(tx, on, result);
    if (call) await deleteItemsFrom(tx, on.inputId, items);
    return call;
  });
}

/** The error in an outcome; undefined for a success that can be kept. */
function failureOf(outcome: InputFinished['outcome']): InputError | undefined {
  if (!outcome) throw new BerthError('invalid', 'finished has no outcome.', { field: 'outcome' });
  if (outcome.$case === 'failure') return readableError(outcome.value);
  const { payload, format, blob } = outcome.value;
  if (payload.length > PAYLOAD_BYTES_MAX) {
    return resultInvalid(`is larger than ${PAYLOAD_BYTES_MAX} bytes: store it, and return where it is`);
  }
  // A worker checks what it sends; but what speaks for the container is the user's, and answers embed it as it is.
  if (!isFormat(format)) return resultInvalid('is of no known format');
  if (blob) return payload.length === 0 ? undefined : resultInvalid('is in two places');
  if (format === 'json' && !isJson(payload)) return resultInvalid('is not JSON');
  return undefined;
}

const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 5_000;

/**
 * A container may say that its result is anywhere: it counts when it is a blob of the input's own workspace. While sync is
 * away this outcome waits alone: to end the line would keep those of all other inputs of the node waiting with it.
 */
async function failureOfBlob(
  { db, sync, log }: Pick<Parts, 'db' | 'sync' | 'log'>,
  { inputId, outcome }: Pick<InputFinished, 'inputId' | 'outcome'>,
  lineEnded: AbortSignal,
): Promise<InputError | undefined> {
  if (outcome?.$case !== 'success' || !outcome.value.blob) return undefined;
  const workspaceId = await findWorkspace(db, inputId);
  if (!workspaceId) return undefined; // No such input: the record says so.
  for (let retryMs = RETRY_FIRST_MS; ; retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)) {
    try {
      const { tree } = await sync.getTree({ treeId: outcome.value.blob, workspaceId });
      return isBlob(tree!.entries) ? undefined : resultInvalid('is no tree of one file of at most 512 MiB');
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      if (error.kind === 'not_found') return resultInvalid('is not where it is said to be');
      if (error.kind !== 'unavailable' && error.kind !== 'timeout') throw error;
      log.warn({ err: error, inputId, retryMs }, 'a result could not be looked up: trying again');
    }
    await pause(retryMs, undefined, { signal: lineEnded });
  }
}

const resultInvalid = (why: string): InputError => ({
  type: 'result_invalid',
  message: `The result ${why}.`,
});
