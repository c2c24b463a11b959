import type { Context } from '../context';
import { beginEnding, markEnded, numberOutputs } from '../store/map-store';
import { terminateMap } from '../store/input-store';
import { takeFromQueue } from '../waiting/queue';

type Parts = Pick<Context, 'db' | 'bus' | 'log' | 'waiting' | 'lines' | 'autoscaler'>;

/** Why the open inputs of a map are terminated. */
export type EndReason = 'cancelled' | 'failed';

const MESSAGES: Record<EndReason, string> = {
  cancelled: 'The call was cancelled.',
  failed: 'Another input of its call failed.',
};

/** Ends a map: it takes no more inputs, and those that are open are terminated. Nothing, where nothing is open. */
export async function endMap(parts: Parts, callId: string, reason: EndReason): Promise<void> {
  await numberOutputs(parts.db, callId);
  if (!(await beginEnding(parts.db, callId, { cancelled: reason === 'cancelled' }))) return;
  await finishEnding(parts, callId, reason);
}

/** The second half, which others take over from a process that died in it. Repeatable. */
export async function finishEnding(parts: Parts, callId: string, reason: EndReason): Promise<void> {
  const { db, waiting, lines, autoscaler } = parts;
  waiting.announceChange(callId);
  for await (const terminated of terminateMap(db, callId, MESSAGES[reason])) {
    waiting.announce(terminated);
    autoscaler.ended(terminated);
    lines.cancel(terminated.map(({ input_id }) => input_id));
    void takeFromQueue(parts, terminated);
  }
  await markEnded(db, callId);
}
