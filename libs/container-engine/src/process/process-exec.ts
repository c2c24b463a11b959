import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';

import { EngineError, type ExecRequest, type ExecSession } from '../engine';
import { exitCodeOf } from '../exit-code';
import { checkTerminalSize } from '../validate-spec';
import { killAll } from './members';
import { TERMINAL_SCRIPT } from './terminal';

const EXEC_MARK = 'BERTH_EXEC_ID';

/** `request` with its paths and environment as they are on the host. */
export async function processExec(
  request: ExecRequest & { env: Readonly<Record<string, string>>; cwd: string },
  python: string | undefined,
): Promise<ExecSession> {
  const mark = randomUUID();
  const options = { cwd: request.cwd, env: { ...request.env, [EXEC_MARK]: mark }, detached: true };
  const { columns = 80, rows = 24 } = request;
  let child: ChildProcess;
  if (request.tty) {
    if (!python) throw new EngineError('unsupported', 'A terminal needs python3 on this host; install it.');
    const args = ['-c', TERMINAL_SCRIPT, String(columns), String(rows), ...request.command];
    child = spawn(python, args, { ...options, stdio: ['pipe', 'pipe', 'ignore', 'pipe'] });
  } else {
    const [program, ...args] = request.command;
    child = spawn(program!, args, { ...options, stdio: [request.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
  }

  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  closed.catch(() => undefined);
  try {
    await once(child, 'spawn');
  } catch (error) {
    // As a shell and an init process report what they cannot run.
    return notStarted(request.command[0]!, error as NodeJS.ErrnoException);
  }

  const sizes = child.stdio[3] as Writable | undefined;
  for (const stream of [child.stdin, sizes]) stream?.on('error', () => undefined); // It ended before reading all.
  if (request.tty && !request.stdin) child.stdin?.end();
  return {
    stdin: request.stdin ? child.stdin! : new Writable({ write: (_chunk, _encoding, done) => done() }),
    stdout: child.stdout!,
    stderr: child.stderr ?? Readable.from([]),
    exit: closed.then(([code, signal]) => ({ exitCode: exitCodeOf(code, signal) })),
    resize: async (width, height) => {
      if (!request.tty)
        throw new EngineError('invalid', 'Only a process with a terminal has a size; set tty.');
      checkTerminalSize(width, height);
      sizes?.write(`${width} ${height}\n`);
    },
    kill: async () => killAll(child.pid!, EXEC_MARK, mark),
  };
}

function notStarted(program: string, { code }: NodeJS.ErrnoException): ExecSession {
  const exitCode = code === 'ENOENT' ? 127 : 126;
  return {
    stdin: new Writable({ write: (_chunk, _encoding, done) => done() }),
    stdout: Readable.from([]),
    stderr: Readable.from([Buffer.from(`${program}: cannot be run (${code})\n`)]),
    exit: Promise.resolve({ exitCode }),
    resize: async () => undefined,
    kill: async () => undefined,
  };
}
