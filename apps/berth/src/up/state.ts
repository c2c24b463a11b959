import { readFileSync } from 'node:fs';
import type { ProcessIdentity } from './process-identity';
import { writeAtomically } from './write-atomically';

export type ChildState = 'starting' | 'up' | 'waiting' | 'stopping' | 'stopped';

/** One process that the supervisor started. */
export interface ChildRecord {
  name: string;
  /** `waiting`: it ended by itself and is started again after a pause. */
  state: ChildState;
  process: ProcessIdentity | undefined;
  /** When it came into this state (ISO 8601). */
  since: string;
  restarts: number;
  /** The last end that nobody asked for. */
  lastExit: { reason: string; at: string; aliveMs: number } | undefined;
  log: string;
  /** How it is asked to stop, and milliseconds until it is made to: also for whoever finds it orphaned. */
  stopSignal: NodeJS.Signals;
  graceMs: number;
}

/** What `run/state.json` holds: no secrets. */
export interface PlatformState {
  supervisor: ProcessIdentity;
  phase: 'starting' | 'up' | 'stopping' | 'stopped' | 'failed';
  since: string;
  /** Where things are, by what they are: API, data, logs. */
  places: Record<string, string>;
  /** What the user should know, such as containers without isolation. */
  warnings: string[];
  /** Why `phase` is `failed`. */
  failure: string | undefined;
  /** In the order in which they stop. */
  children: ChildRecord[];
}

export const writeState = (path: string, state: PlatformState): void =>
  writeAtomically(path, JSON.stringify(state, null, 2));

/** The state as last written; undefined when there never was a platform. */
export function readState(path: string): PlatformState | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as PlatformState;
  } catch {
    return undefined;
  }
}
