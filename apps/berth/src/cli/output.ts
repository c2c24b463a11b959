import Table from 'cli-table3';
import colors from 'picocolors';
import type { InvocationError, Phase } from '@berth/sdk';

/** Rows under a heading, without borders; what a script can cut apart by columns. */
export function printTable(head: string[], rows: string[][]): void {
  const none = '';
  const table = new Table({
    head: head.map((name) => colors.bold(name)),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: none,
      'top-mid': none,
      'top-left': none,
      'top-right': none,
      bottom: none,
      'bottom-mid': none,
      'bottom-left': none,
      'bottom-right': none,
      left: none,
      'left-mid': none,
      mid: none,
      'mid-mid': none,
      right: none,
      'right-mid': none,
      middle: none,
    },
  });
  table.push(...rows);
  console.log(table.toString());
}

const BAR_WIDTH = 40;

/** A call's phases as a line each: name, milliseconds, and where it lay in the whole. */
export function phaseLines(phases: Phase[]): string[] {
  const first = phases[0];
  if (!first) return [];
  const begin = Date.parse(first.started_at);
  const end = Math.max(...phases.map((phase) => Date.parse(phase.started_at) + phase.duration_ms));
  const scale = BAR_WIDTH / Math.max(end - begin, 0.001);
  return phases.map(({ name, started_at, duration_ms }) => {
    const offset = Math.min(BAR_WIDTH - 1, Math.round((Date.parse(started_at) - begin) * scale));
    const width = Math.max(1, Math.min(BAR_WIDTH - offset, Math.round(duration_ms * scale)));
    return `${name.padEnd(7)} ${duration_ms.toFixed(1).padStart(9)} ms  ${' '.repeat(offset)}${colors.cyan('█'.repeat(width))}`;
  });
}

/** An error of user code, with the user's own lines. */
export function errorLines(error: InvocationError): string[] {
  return [
    ...(error.traceback ? [error.traceback.trimEnd()] : []),
    colors.red(`${error.type}: ${error.message}`),
  ];
}

/** `3 min ago`, for the eye. */
export function ago(time: string | null, now = Date.now()): string {
  if (!time) return '';
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}
