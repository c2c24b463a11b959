import type { ChildRecord, PlatformState } from './state';

/** What `berth status` says, and exits with. */
export interface StatusReport {
  /** 0: all is up. 1: something is not. 3: nothing runs. */
  code: 0 | 1 | 3;
  state: PlatformState | undefined;
  text: string;
}

/** `4 s`, `12 min`, `3 h 20 min`, `5 d 2 h`. */
export function sayDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function renderTable(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const sayMemory = (bytes: number | undefined) => (bytes ? `${Math.round(bytes / 1024 / 1024)} MB` : '');

function sayLastExit({ lastExit }: ChildRecord, now: number): string {
  if (!lastExit) return '';
  return `${lastExit.reason}, ${sayDuration(now - Date.parse(lastExit.at))} ago, after ${sayDuration(lastExit.aliveMs)}`;
}

/**
 * Renders what the supervisor last wrote. `isRunning` tells whether a process still lives, `memory` its resident
 * bytes by pid.
 */
export function report(
  state: PlatformState | undefined,
  dataDir: string,
  now: number,
  isRunning: (process: { pid: number; started: string }) => boolean,
  memory: ReadonlyMap<number, number>,
): StatusReport {
  if (!state || !isRunning(state.supervisor)) return reportStopped(state, dataDir, isRunning);
  const rows = state.children.map((child) => [
    child.name,
    child.state === 'waiting' ? 'down, restarting' : child.state,
    child.process ? String(child.process.pid) : '',
    sayDuration(now - Date.parse(child.since)),
    String(child.restarts),
    sayMemory(child.process && memory.get(child.process.pid)),
    sayLastExit(child, now),
  ]);
  const own = state.supervisor.pid;
  rows.push([
    'supervisor',
    state.phase,
    String(own),
    sayDuration(now - Date.parse(state.since)),
    '0',
    sayMemory(memory.get(own)),
    '',
  ]);
  const places = Object.entries(state.places).map(([what, where]) => `  ${what.padEnd(12)} ${where}`);
  const allUp = state.phase === 'up' && state.children.every((child) => child.state === 'up');
  return {
    code: allUp ? 0 : 1,
    state,
    text: [
      `Berth is ${allUp ? 'up' : state.phase === 'up' ? 'up, but not all of it' : state.phase}.`,
      '',
      renderTable([['process', 'state', 'pid', 'for', 'restarts', 'memory', 'last end'], ...rows]),
      '',
      ...places,
      ...state.warnings.map((warning) => `  WARNING: ${warning}`),
    ].join('\n'),
  };
}

function reportStopped(
  state: PlatformState | undefined,
  dataDir: string,
  isRunning: (process: { pid: number; started: string }) => boolean,
): StatusReport {
  const left = (state?.children ?? []).filter(({ process }) => process && isRunning(process));
  const killed = state && !['stopped', 'failed'].includes(state.phase);
  return {
    code: 3,
    state,
    text: [
      `Berth is not running in ${dataDir}.`,
      ...(state?.failure ? [`Its last start failed: ${state.failure}`] : []),
      ...(killed ? ['Its supervisor ended without stopping it.'] : []),
      ...(left.length > 0
        ? [
            `Still running from then: ${left.map(({ name, process }) => `${name} (pid ${process?.pid})`).join(', ')}. npm stop ends them.`,
          ]
        : []),
      'npm start brings it up.',
    ].join('\n'),
  };
}
