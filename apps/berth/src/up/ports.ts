import { createServer } from 'node:net';

/** Below what systems hand out to outgoing connections: a port that is free while its server restarts stays free. */
const FIRST = 20_000;
const COUNT = 10_000;

/** Whether something could listen there now. */
export const isFree = (port: number, host = '127.0.0.1'): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(true)));
  });

/**
 * `count` ports on 127.0.0.1 that are free now. The same `seed` gives the same ports for as long as nobody else has
 * taken them, so that a platform is found where it was after a restart.
 */
export async function choosePorts(seed: number, count: number): Promise<number[]> {
  const chosen: number[] = [];
  for (let step = 0; step < COUNT && chosen.length < count; step++) {
    const port = FIRST + ((seed + step) % COUNT);
    if (await isFree(port)) chosen.push(port);
  }
  if (chosen.length < count) throw new Error(`no ${count} free ports from ${FIRST} to ${FIRST + COUNT - 1}`);
  return chosen;
}
