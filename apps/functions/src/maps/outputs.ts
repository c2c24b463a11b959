/**
 * The outputs of a call as they come. What was read is in Postgres and stays there: a reader that is slow holds one page,
 * one that went away comes back with its cursor.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { endedInputs, isMapFinal, type OutputOrder } from '../domain/map';
import type { Context } from '../context';
import {
  findFirstFailure,
  findMapHead,
  findOutput,
  listByIndex,
  listRecorded,
  numberOutputs,
  type MapHead,
  type Output,
} from '../store/map-store';
import type { Watch } from '../waiting/waiting-callers';

export interface Reading {
  order: OutputOrder;
  /** The entry or index of the last output that the reader has. */
  after: number;
  /** Waits for outputs to come; else ends with those there are. */
  follow: boolean;
  signal: AbortSignal;
}

/** Outcomes of a map come in bursts: what ends within this time is read together. Milliseconds. */
const LINGER_MS = 20;

type Parts = Pick<Context, 'db' | 'waiting'>;

/** Errors: `cancelled` when the reader goes away, `unavailable` when this service stops: read on after the cursor. */
export async function* readOutputs(
  { db, waiting }: Parts,
  call: { callId: string; isMap: boolean },
  reading: Reading,
): AsyncGenerator<Output> {
  const watch = waiting.watch(call.callId);
  try {
    yield* call.isMap
      ? mapOutputs(db, call.callId, reading, watch)
      : singleOutput(db, call.callId, reading, watch);
  } finally {
    watch.close();
  }
}

async function* singleOutput(
  db: Parts['db'],
  callId: string,
  { order, after, follow, signal }: Reading,
  watch: Watch,
): AsyncGenerator<Output> {
  for (;;) {
    const output = await findOutput(db, callId);
    if (output) {
      if (output[PLACE[order]] > after) yield output;
      return;
    }
    if (!follow) return;
    await watch.changed(signal);
  }
}

const PLACE = { recorded: 'entry', index: 'index' } as const satisfies Record<OutputOrder, keyof Output>;

async function* mapOutputs(
  db: Parts['db'],
  callId: string,
  { order, after, follow, signal }: Reading,
  watch: Watch,
): AsyncGenerator<Output> {
  let last = after;
  for (;;) {
    const head = await numberedHead(db, callId);
    const final = isMapFinal(head);
    const lookedAt = performance.now();
    for (;;) {
      const page =
        order === 'recorded'
          ? await listRecorded(db, callId, last)
          : await listByIndex(db, callId, last, { gaps: final, before: undefined });
      if (page.length === 0) break;
      yield* page;
      last = page.at(-1)![PLACE[order]];
    }
    if (final || !follow) return;
    await changedAfterLinger(watch, lookedAt, signal);
  }
}

/**
 * The outputs of a map up to its first failure, which is the last: in the order of the log, or by index as far as what
 * was recorded before that failure goes without a gap. The same map gives the same outputs each time.
 */
export async function* readUntilFailure(
  { db, waiting }: Parts,
  callId: string,
  { order, signal }: Pick<Reading, 'order' | 'signal'>,
): AsyncGenerator<Output> {
  const watch = waiting.watch(callId);
  let last = order === 'recorded' ? 0 : -1;
  try {
    for (;;) {
      const head = await numberedHead(db, callId);
      const lookedAt = performance.now();
      const failed = head.num_failed + head.num_terminated > 0;
      const failure = failed ? await findFirstFailure(db, callId) : undefined;
      // What others have numbered since the head was read may hold a failure: it is of the next look.
      const before = failure ? failure.entry : endedInputs(head) + 1;
      const final = isMapFinal(head);
      for (;;) {
        const page =
          order === 'recorded'
            ? (await listRecorded(db, callId, last)).filter(({ entry }) => entry < before)
            : await listByIndex(db, callId, last, { gaps: final && !failure, before });
        if (page.length === 0) break;
        yield* page;
        last = page.at(-1)![PLACE[order]];
      }
      if (failure) yield failure;
      if (failure || final) return;
      await changedAfterLinger(watch, lookedAt, signal);
    }
  } finally {
    watch.close();
  }
}

async function numberedHead(db: Parts['db'], callId: string): Promise<MapHead> {
  await numberOutputs(db, callId);
  return findMapHead(db, callId);
}

async function changedAfterLinger(watch: Watch, lookedAt: number, signal: AbortSignal): Promise<void> {
  await watch.changed(signal);
  const left = lookedAt + LINGER_MS - performance.now();
  // Whoever stops or goes away meanwhile is heard at the next wait.
  if (left > 0) await delay(left, undefined, { signal }).catch(() => undefined);
}
