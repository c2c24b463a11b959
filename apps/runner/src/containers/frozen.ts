import type { ContainerEngine } from '@berth/container-engine';

/** Looks in a row that must find a container frozen before it is given up. */
const LOOKS = 3;

/**
 * Calls `onFrozen` when the container has been frozen for `seconds` while `isBusy`; gives how to stop looking. Looks at
 * what the kernel says of its processes, not at whether the worker answers: native code may keep a worker from
 * answering for long, and is at work.
 */
export function watchFrozen(
  engine: Pick<ContainerEngine, 'isFrozen'>,
  id: string,
  { seconds, isBusy, onFrozen }: { seconds: number; isBusy: () => boolean; onFrozen: () => void },
): () => void {
  let seen = 0;
  let isLooking = false;
  const look = async () => {
    if (isLooking) return; // An engine that answers late is asked by one look at a time.
    isLooking = true;
    try {
      seen = isBusy() && (await engine.isFrozen(id)) ? seen + 1 : 0;
      if (seen > LOOKS) onFrozen();
    } catch {
      seen = 0; // An engine that does not answer says nothing of the container.
    } finally {
      isLooking = false;
    }
  };
  const timer = setInterval(() => void look(), (seconds * 1000) / LOOKS).unref();
  return () => clearInterval(timer);
}
