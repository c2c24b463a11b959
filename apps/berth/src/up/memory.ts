import { readdirSync, readFileSync } from 'node:fs';
import { residentBytes } from './process-identity';

/** Bytes of one process, what it shares with others counted by its share where the system tells. */
function ownBytes(pid: number): number | undefined {
  try {
    const kib = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
    if (kib !== undefined) return Number(kib) * 1024;
  } catch {
    // Not Linux, or not ours to look into.
  }
  return residentBytes(pid);
}

/** The children of every process, by its pid; empty where there is no /proc. */
function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  try {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
      } catch {
        // It ended while we looked.
      }
    }
  } catch {
    // No /proc.
  }
  return children;
}

/** Resident bytes of each process with all its descendants. */
export function memoryOf(pids: readonly number[]): Map<number, number> {
  const children = childrenByParent();
  const total = (pid: number): number =>
    (ownBytes(pid) ?? 0) + (children.get(pid) ?? []).reduce((sum, child) => sum + total(child), 0);
  return new Map(pids.map((pid) => [pid, total(pid)]));
}
