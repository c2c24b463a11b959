import type { Change } from './change';
import { place } from './domain/place';
import { readLine, readNodes, writePlan } from './store/placement-store';

/** Places all that waits and fits, and says of the rest why it waits. The caller holds the placement lock. */
export async function placeWaiting({ tx, now, tell }: Change): Promise<void> {
  const line = await readLine(tx, now);
  if (line.length === 0) return;
  tell(await writePlan(tx, place(await readNodes(tx), line), now));
}
