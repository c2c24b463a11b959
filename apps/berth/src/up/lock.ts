import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { identify, isAlive, type ProcessIdentity } from './process-identity';

/** Who holds the lock of a data folder now; undefined when nobody who lives does. */
export function lockHolder(path: string): ProcessIdentity | undefined {
  try {
    const holder = JSON.parse(readFileSync(path, 'utf8')) as ProcessIdentity;
    return isAlive(holder) ? holder : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Takes the lock for this process, also from a holder that died. Gives the living holder when there is one.
 * `release` gives it back; a process that dies without it leaves a lock that counts for nothing.
 */
export function takeLock(path: string): { release: () => void } | { heldBy: ProcessIdentity } {
  const me = identify(process.pid);
  if (!me) throw new Error('this process cannot see itself in the process table');
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, JSON.stringify(me), { mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(mine, path); // All or nothing: fails where a lock lies.
        return {
          release: () => void (lockHolder(path)?.pid === process.pid && rmSync(path, { force: true })),
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const heldBy = lockHolder(path);
      if (heldBy) return { heldBy };
      moveAway(path);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Removes a dead lock. Where another process was faster and the lock is alive by now, puts it back. */
function moveAway(path: string): void {
  const aside = `${path}.${process.pid}.dead`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    if (lockHolder(aside)) linkSync(aside, path);
  } finally {
    rmSync(aside, { force: true });
  }
}
