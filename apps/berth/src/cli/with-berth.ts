import { Berth } from '@berth/sdk';

/** Runs `work` against the API that the credentials open, and closes it. */
export async function withBerth(work: (berth: Berth) => Promise<void>): Promise<void> {
  const berth = new Berth();
  try {
    await work(berth);
  } finally {
    await berth.close();
  }
}

/** The first `max` of what comes, or all. */
export async function collect<T>(items: AsyncIterable<T>, max = Infinity): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) {
    collected.push(item);
    if (collected.length >= max) break;
  }
  return collected;
}
