/** What `berth up`, `berth stop` and `berth status` do. Each resolves with the exit code. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readUpConfig } from './config';
import { dataFolder, type DataFolder } from './data-folder';
import { cleanUpAfterDockerd } from './dockerd';
import { lockHolder } from './lock';
import { memoryOf } from './memory';
import { orphansOf, stopOrphan } from './orphans';
import { ended, isAlive, signal } from './process-identity';
import { Refusal } from './refusal';
import { readState, type PlatformState } from './state';
import { report } from './status';
import { tailOf } from './supervisor';
import { bringUp, type Parts, type RunningPlatform } from './up';

export type Say = (line: string) => void;

const folderOf = (env: NodeJS.ProcessEnv): DataFolder => dataFolder(readUpConfig(env).dataDir, tmpdir());

/** Two signals within this many milliseconds are one Ctrl-C: the terminal and npm each send theirs. */
const ONE_KEYPRESS_MS = 700;

/** Calls `stop` on the first request to end, and `force` when somebody presses Ctrl-C again. */
function onRequestToEnd(stop: () => void, force: () => void): () => void {
  let first: number | undefined;
  const interrupted = () => {
    if (first === undefined) {
      first = Date.now();
      stop();
    } else if (Date.now() - first > ONE_KEYPRESS_MS) force();
  };
  const terminated = () => {
    first ??= Date.now();
    stop();
  };
  process.on('SIGINT', interrupted).on('SIGTERM', terminated).on('SIGHUP', terminated);
  return () => void process.off('SIGINT', interrupted).off('SIGTERM', terminated).off('SIGHUP', terminated);
}

const whereThingsAre = ({ places, warnings }: PlatformState): string =>
  [
    ...Object.entries(places).map(([what, where]) => `  ${what.padEnd(12)} ${where}`),
    ...warnings.map((warning) => `  WARNING: ${warning}`),
  ].join('\n');

/** Brings the platform up in this process and keeps it up until somebody ends it. */
export async function upInForeground(
  env: NodeJS.ProcessEnv,
  parts: Parts,
  say: Say,
  onReady: (platform: RunningPlatform) => void,
): Promise<number> {
  let platform: RunningPlatform | undefined;
  let end: () => void = () => undefined;
  const endRequested = new Promise<void>((resolve) => (end = resolve));
  let asked = false;
  const release = onRequestToEnd(
    () => {
      if (asked) return;
      asked = true;
      say('\nstopping, in order (Ctrl-C again ends it at once)');
      void platform?.stop();
      end();
    },
    () => {
      say('ending at once');
      void platform?.stop(true);
    },
  );
  try {
    platform = await bringUp({ env, parts, say }, (early) => {
      platform = early;
      if (asked) void early.stop();
    });
    onReady(platform);
    await endRequested;
    await platform.stop();
    say('stopped: nothing of it runs any more');
    return 0;
  } catch (error) {
    if (asked) {
      await platform?.stop();
      say('stopped before it was ready');
      return 130;
    }
    throw error;
  } finally {
    release();
  }
}

const readyText = (platform: RunningPlatform, howToStop: string): string =>
  `\nBerth is ready.\n${whereThingsAre(platform.state())}\n  ${'stop'.padEnd(12)} ${howToStop}`;

/** `berth up`. */
export const up = (env: NodeJS.ProcessEnv, parts: Parts, say: Say): Promise<number> =>
  upInForeground(env, parts, say, (platform) => say(readyText(platform, 'Ctrl-C, or npm stop')));

/**
 * The child's side of `berth up --detach`: progress and the end of the start go to the file descriptor `report` as
 * JSON lines; later words go to its log.
 */
export function upDetached(
  env: NodeJS.ProcessEnv,
  parts: Parts,
  tell: (message: DetachedMessage) => void,
  say: Say,
): Promise<number> {
  let starting = true;
  return upInForeground(
    env,
    parts,
    (line) => (starting ? tell({ line }) : say(line)),
    (platform) => {
      tell({ line: readyText(platform, 'npm stop'), ready: true });
      starting = false;
    },
  ).catch((error: unknown) => {
    if (starting && error instanceof Refusal) tell({ line: `\n${error.message}` });
    throw error;
  });
}

export interface DetachedMessage {
  line: string;
  ready?: boolean;
}

/**
 * `berth up --detach`: starts `program` (this program, with the words that make it call `upDetached` on file
 * descriptor 3) and waits until it is ready or has failed.
 */
export async function detach(env: NodeJS.ProcessEnv, program: string[], say: Say): Promise<number> {
  const folder = folderOf(env);
  const earlier = readState(folder.state);
  if (
    earlier &&
    lockHolder(folder.lock) &&
    report(earlier, folder.root, Date.now(), isAlive, new Map()).code === 0
  ) {
    say(`Berth is up already.\n${whereThingsAre(earlier)}\n  ${'stop'.padEnd(12)} npm stop`);
    return 0;
  }
  mkdirSync(folder.logs, { recursive: true, mode: 0o700 });
  const log = join(folder.logs, 'up.log');
  const out = openSync(log, 'w', 0o600);
  const child = spawn(process.execPath, program, {
    env,
    detached: true,
    stdio: ['ignore', out, out, 'pipe'],
  });
  closeSync(out);
  const forward = (name: NodeJS.Signals) => child.kill(name);
  process.on('SIGINT', forward).on('SIGTERM', forward).on('SIGHUP', forward);

  const messages = child.stdio[3] as NodeJS.ReadableStream & { destroy(): void };
  let failure = '';
  for await (const text of createInterface({ input: messages })) {
    const { line, ready } = JSON.parse(text) as DetachedMessage;
    if (ready) {
      say(line);
      messages.destroy();
      child.unref();
      process.off('SIGINT', forward).off('SIGTERM', forward).off('SIGHUP', forward);
      return 0;
    }
    failure = line;
    say(line);
  }
  const words = tailOf(log);
  if (words && !failure.includes(words)) say(words);
  say(`\nBerth did not start. Logs: ${folder.logs}`);
  return 1;
}

/** Milliseconds that a whole platform gets to stop. */
const STOP_WITHIN_MS = 180_000;

/** `berth stop`: stops the platform of this data folder, also what a killed supervisor left behind. */
export async function stop(env: NodeJS.ProcessEnv, say: Say): Promise<number> {
  const folder = folderOf(env);
  const holder = lockHolder(folder.lock);
  if (!holder) {
    const orphans = orphansOf(
      readState(folder.state),
      ({ process }) => process !== undefined && isAlive(process),
    );
    for (const orphan of orphans) await stopOrphan(orphan);
    cleanUpAfterDockerd(folder);
    say(
      orphans.length > 0
        ? `Berth's supervisor was gone; stopped what it left: ${orphans.map(({ name }) => name).join(', ')}.`
        : `Berth is not running in ${folder.root}.`,
    );
    return 0;
  }
  signal(holder, 'SIGTERM');
  if (await ended(holder, STOP_WITHIN_MS)) {
    say('Berth is stopped: nothing of it runs any more.');
    return 0;
  }
  say(
    `Berth (pid ${holder.pid}) has not stopped within ${STOP_WITHIN_MS / 1000} s. npm run status says what is left.`,
  );
  return 1;
}

/** `berth status`. */
export function status(env: NodeJS.ProcessEnv, json: boolean, say: Say): number {
  const folder = folderOf(env);
  const state = readState(folder.state);
  const pids = state
    ? [...state.children.flatMap(({ process }) => process?.pid ?? []), state.supervisor.pid]
    : [];
  const memory = memoryOf(pids);
  // The supervisor's children are counted by themselves.
  if (state) {
    const children = state.children.reduce(
      (sum, { process }) => sum + (memory.get(process?.pid ?? -1) ?? 0),
      0,
    );
    memory.set(state.supervisor.pid, Math.max(0, (memory.get(state.supervisor.pid) ?? 0) - children));
  }
  const { code, text } = report(state, folder.root, Date.now(), isAlive, memory);
  if (!json) say(text);
  else {
    const children = state?.children.map((child) => ({
      ...child,
      memoryBytes: child.process ? memory.get(child.process.pid) : undefined,
    }));
    say(JSON.stringify({ running: code !== 3, ok: code === 0, ...state, children: children ?? [] }, null, 2));
  }
  return code;
}
