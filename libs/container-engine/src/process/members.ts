import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** In the environment of everything a container starts, so that what left its process group is found too. */
export const CONTAINER_MARK = 'BERTH_CONTAINER_ID';

const CLOCK_TICKS_PER_SECOND = 100n; // The kernel's USER_HZ, the same on every Linux.
const PAGE_BYTES = 4096;

/** When a process started, in the host's own notation; undefined if there is none. Tells a pid from its reuse. */
export function startTimeOf(pid: number): string | undefined {
  if (process.platform === 'linux') return readStat(pid)?.startTime;
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
  } catch {
    return undefined;
  }
}

/** The pids of the processes that carry this environment variable. Linux only; elsewhere none are found. */
export function markedPids(name: string, value: string): number[] {
  const wanted = `${name}=${value}`;
  return allPids().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(wanted);
    } catch {
      return false; // Gone, or another user's.
    }
  });
}

/** SIGKILL to a container's group and to all that carries its mark. Nothing left to kill is success. */
export function killAll(groupId: number, name: string, value: string): void {
  signal(-groupId, 'SIGKILL');
  for (const pid of markedPids(name, value)) signal(pid, 'SIGKILL');
}

/** Sends a signal; whoever is gone already needs none. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** What these processes use together. Ended ones count through the parent that waited for them. */
export function usageOf(pids: readonly number[]): { cpuNanos: bigint; memoryBytes: number; pids: number } {
  const stats = pids.map(readStat).filter((stat) => stat !== undefined);
  const ticks = stats.reduce((sum, stat) => sum + stat.cpuTicks, 0n);
  return {
    cpuNanos: (ticks * 1_000_000_000n) / CLOCK_TICKS_PER_SECOND,
    memoryBytes: stats.reduce((sum, stat) => sum + stat.residentPages * PAGE_BYTES, 0),
    pids: stats.reduce((sum, stat) => sum + stat.threads, 0),
  };
}

/** The kernel's letter for what each of these processes does: `R`, `S`, `T`, … Of those that have ended there is none. */
export const statesOf = (pids: readonly number[]): string[] =>
  pids.map((pid) => readStat(pid)?.state).filter((state) => state !== undefined);

interface Stat {
  state: string;
  startTime: string;
  cpuTicks: bigint;
  residentPages: number;
  threads: number;
}

/** The fields of proc(5)'s `stat`, counted from the state, which follows the name in brackets. */
function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + BigInt(field), 0n);
    return {
      state: fields[0]!,
      startTime: fields[19]!,
      cpuTicks: ticks,
      residentPages: Number(fields[21]),
      threads: Number(fields[17]),
    };
  } catch {
    return undefined;
  }
}

function allPids(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}
