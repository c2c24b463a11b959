import type { Change } from './change';
import { place } from './domain/place';
import { readLine, readNodes, writePlan } from './store/placement-store';

/**
 * Places all that waits and fits, and says of the rest why it waits; of what only lacks room, also to whoever may hold
 * it idle. The caller holds the placement lock.
 */
export async function placeWaiting({ tx, now, tell, shortOf }: Change): Promise<void> {
  const line = await readLine(tx, now);
  if (line.length === 0) return;
  const plan = place(await readNodes(tx), line);
  tell(await writePlan(tx, plan, now));
  const lacking = (what: 'cores' | 'cards') => plan.waiting.filter(({ awaits }) => awaits === what).length;
  const short = { containers: lacking('cores'), withCards: lacking('cards') };
  if (short.containers + short.withCards > 0) shortOf(short);
}
