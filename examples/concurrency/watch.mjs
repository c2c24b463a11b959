/** Waits until it is cancelled, or the time is over. All inputs of a container run on its one event loop. */
import { setTimeout as sleep } from 'node:timers/promises';

export async function watch(what, seconds = 60) {
  const { signal, callId } = berth.context();
  try {
    await sleep(1000 * seconds, undefined, { signal });
    return `${what}: nothing happened`;
  } finally {
    console.log(`stopped watching ${what} in ${callId}`);
  }
}
