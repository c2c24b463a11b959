import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** One process, and not a later one that was given the same pid. */
export interface ProcessIdentity {
  pid: number;
  /** When it started: kernel ticks since boot and the boot's id, or the date where there is no /proc. */
  started: string;
}

const bootId = () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** Who runs under `pid` now; undefined when nobody does (a zombie has ended). */
export function identify(pid: number): ProcessIdentity | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The name, in brackets, may hold spaces and brackets; what follows the last one does not.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' || fields[0] === 'X'
        ? undefined
        : { pid, started: `${bootId()}/${fields[19]}` };
    } catch {
      return undefined;
    }
  }
  const { stdout, status } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
  return status === 0 && stdout.trim() ? { pid, started: stdout.trim() } : undefined;
}

export const isAlive = (process: ProcessIdentity): boolean =>
  identify(process.pid)?.started === process.started;

/** Sends a signal to that very process; false when it is gone. */
export function signal(target: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false;
  try {
    process.kill(target.pid, name);
    return true;
  } catch {
    return false;
  }
}

/** Resident memory in bytes, its children's not included; undefined when it is gone or cannot be read. */
export function residentBytes(pid: number): number | undefined {
  if (process.platform === 'linux') {
    try {
      const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      return kib === undefined ? undefined : Number(kib) * 1024;
    } catch {
      return undefined;
    }
  }
  const kib = Number(spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim());
  return kib > 0 ? kib * 1024 : undefined;
}

/**
 * Waits for the end of a process that is not our child, for at most `withinMs`. The system tells nobody but the
 * parent, so this looks, ten times a second, for as long as somebody waits.
 */
export async function ended(target: ProcessIdentity, withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  while (isAlive(target)) {
    if (Date.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return true;
}
