import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';

/**
 * Runs the command and writes its exit code to a file, so that the code is known even where the engine that started
 * it is gone. A stop's SIGTERM goes to the whole group: the shell takes it and waits on, the command gets it with
 * its default meaning. It has that meaning from where the inner shell says so on a pipe: one that comes earlier is
 * taken by the outer shell alone, and the command would never hear of it. The shell's own stderr is discarded, for it
 * would print `Killed` into the user's.
 *
 * The memory limit is RLIMIT_DATA, for the address space that RLIMIT_AS counts is reserved by Node and CUDA in sizes
 * that have nothing to do with use. It holds for each process by itself. Node takes even of RLIMIT_DATA much more than
 * it uses, which a container whose command is node gets on top.
 */
const SUPERVISE = `
state=$1; limit_kib=$2; cwd=$3; shift 3
trap : TERM INT HUP
(
  (echo >&4) # Apart: where the engine is gone, writing there is the death of whoever does.
  exec 2>&3 3>&- 4>&-
  cd "$cwd" || exit 126
  [ "$limit_kib" = 0 ] || ulimit -d "$limit_kib"
  exec "$@"
)
code=$?
echo $code >"$state/exit.part" && mv "$state/exit.part" "$state/exit"
exit $code
`;

/** Node 24 starts with 574 MB of writable address space and 42 MB in use. */
const NODE_RESERVE_BYTES = 576 * 1024 * 1024;

export interface Supervised {
  stateDir: string;
  command: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** 0: no limit. */
  memoryBytes: number;
}

/** Starts the command as the leader of a group and a session of its own, its output in `stdout` and `stderr`. */
export function supervise({ stateDir, command, env, cwd, memoryBytes }: Supervised): ChildProcess {
  const stdout = openSync(join(stateDir, 'stdout'), 'a', 0o600);
  const stderr = openSync(join(stateDir, 'stderr'), 'a', 0o600);
  try {
    const reserveBytes = basename(command[0]!) === 'node' ? NODE_RESERVE_BYTES : 0;
    const limitKib = String(memoryBytes && Math.floor((memoryBytes + reserveBytes) / 1024));
    return spawn('/bin/sh', ['-c', SUPERVISE, 'berth', stateDir, limitKib, cwd, ...command], {
      detached: true,
      cwd: '/',
      env,
      stdio: ['ignore', stdout, 'ignore', stderr, 'pipe'],
    });
  } finally {
    closeSync(stdout);
    closeSync(stderr);
  }
}

/** Resolves when a SIGTERM to the group reaches the command, or nothing is left for it to reach. Call it on `spawn`. */
export function heedsSignals(child: ChildProcess): Promise<void> {
  const pipe = child.stdio[4] as Readable;
  return new Promise((resolve) => {
    pipe.on('error', () => undefined); // It closes, too.
    pipe.once('close', resolve).once('data', () => pipe.destroy());
  });
}
