/** What a runner says of a generator: items as they come, and at last how many there were. */
import { Verdict, type InputItems, type InputSuccess } from '@berth/contracts/functions/v1/functions';
import type { Database, Sql } from '@berth/database';
import type { Context } from '../context';
import { PAYLOAD_BYTES_MAX } from '../domain/payload';
import { listItems, measureItems, recordItems } from '../store/item-store';
import type { Answer } from './intake';

/** The outcome of a generator; its payload is how many items it yielded. */
export const ITEMS_FORMAT = 'items';

/**
 * Items are recorded once. What is said again, or yielded again by a later attempt, is not wanted twice and still
 * accepted: only the word of an attempt that does not hold its input is stale.
 */
export async function takeItems(
  { db, waiting }: Pick<Context, 'db' | 'waiting'>,
  { inputId, attempt, containerId, index, payloads }: InputItems,
): Promise<Answer> {
  const callId = await recordItems(db, { inputId, attempt, containerId }, index, payloads);
  if (!callId) return { verdict: Verdict.VERDICT_STALE, attempt: 0 };
  waiting.announceChange(callId);
  return { verdict: Verdict.VERDICT_ACCEPTED, attempt };
}

export interface ComposedItems {
  success: InputSuccess;
  /** How many it is made of. */
  count: number;
}

/**
 * The result of a generator: the list of the items that it claims, or null where that is too large for a result: they are
 * then read one by one. Items of an attempt that failed after more are none of it. Undefined where more were claimed than
 * were told.
 */
export async function composeItems(
  db: Database,
  inputId: string,
  claim: InputSuccess,
): Promise<ComposedItems | undefined> {
  if (!/^\d{1,9}$/.test(claim.payload.toString())) return undefined;
  const claimed = Number(claim.payload.toString());
  const { count, bytes } = await measureItems(db, inputId, claimed);
  if (count < claimed) return undefined;
  const payload = bytes > PAYLOAD_BYTES_MAX ? Buffer.from('null') : await joinItems(db, inputId, claimed);
  return { success: { payload, format: 'json', blob: '' }, count };
}

/** The JSON of each is kept as it came: it is put together, never parsed. */
async function joinItems(sql: Sql, inputId: string, count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let last = -1;
  for (;;) {
    const page = (await listItems(sql, inputId, last)).filter(({ index }) => index < count);
    if (page.length === 0) break;
    for (const { payload } of page) parts.push(Buffer.from(parts.length === 0 ? '[' : ','), payload);
    last = page.at(-1)!.index;
  }
  return Buffer.concat(parts.length === 0 ? [Buffer.from('[]')] : [...parts, Buffer.from(']')]);
}
