import { constants } from 'node:os';

/** The signal an exit code of 128 + n stands for, by the shell's convention. */
export function signalOf(exitCode: number): NodeJS.Signals | undefined {
  const found = Object.entries(constants.signals).find(([, number]) => number === exitCode - 128);
  return found?.[0] as NodeJS.Signals | undefined;
}

/** 128 + n for signal n, else the code itself. */
export function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  return signal ? 128 + constants.signals[signal] : (code ?? 255);
}
