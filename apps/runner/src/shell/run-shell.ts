/** Runs what the user of a shell wants in its container, and passes what goes in and out. */
import type { Readable } from 'node:stream';
import type { ContainerEngine, ExecRequest, ExecSession } from '@berth/container-engine';
import type { ShellStart } from '@berth/contracts/gateway/v1/shell';
import type { Shell } from '@berth/contracts/scheduler/v1/scheduler';
import type { Logger } from '@berth/service-kit';
import type { Gateways } from '../web/gateways';
import { ShellLine } from './shell-line';

/** The container's own process: it does nothing until it is killed, and its end is the container's. */
export const SHELL_HOST_COMMAND = ['/bin/sh', '-c', 'exec sleep 2147483647'];

/** bash where there is one. Without a terminal it reads its commands from its input, as any shell does. */
const ANY_SHELL = 'if command -v bash >/dev/null 2>&1; then exec bash; else exec /bin/sh; fi';

export interface ShellTools {
  engine: Pick<ContainerEngine, 'exec'>;
  gateways: Gateways;
  log: Logger;
}

export interface ShellPlace {
  containerId: string;
  /** The container as the engine knows it. */
  id: string;
  env: Readonly<Record<string, string>>;
  cwd: string;
}

/** Resolves when the program has ended and its user knows, when the user has gone, or when `signal` aborts. */
export async function runShell(
  { engine, gateways, log }: ShellTools,
  shell: Shell,
  { containerId, id, env, cwd }: ShellPlace,
  signal: AbortSignal,
): Promise<void> {
  const opened = await ShellLine.open(gateways, shell, containerId, signal);
  if (!opened) return;
  const { line, start } = opened;
  const cancel = () => line.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const session = await engine.exec(id, requestOf(start, env, cwd));
    const left = passUp(line, session).catch((error: unknown) => {
      log.debug({ err: error }, 'the line of a shell broke');
    });
    // The gateway ends the line when it has heard the exit.
    await Promise.race([left, passDown(session, line).then(() => left)]);
  } finally {
    signal.removeEventListener('abort', cancel);
    line.cancel();
  }
}

const requestOf = (
  { command, terminal, term }: ShellStart,
  env: Readonly<Record<string, string>>,
  cwd: string,
): ExecRequest => ({
  command: ['/bin/sh', '-c', command || ANY_SHELL],
  env: { HOME: '/tmp', ...env, ...(term ? { TERM: term } : {}) },
  cwd,
  stdin: true,
  ...(terminal ? { tty: true, columns: terminal.columns, rows: terminal.rows } : {}),
});

/** From the gateway to the program, until the gateway says no more. Throws when its line breaks. */
async function passUp(line: ShellLine, session: ExecSession): Promise<void> {
  const { stdin } = session;
  stdin.on('error', () => undefined); // A program may end, or close its input, before it has read all.
  for (let piece = await line.read(); piece; piece = await line.read()) {
    if (piece.$case === 'stdin') await written(stdin, piece.value);
    if (piece.$case === 'stdinEnd') stdin.end();
    // Its program may have ended a moment ago.
    if (piece.$case === 'resize')
      await session.resize(piece.value.columns, piece.value.rows).catch(() => undefined);
  }
}

const written = (stdin: ExecSession['stdin'], bytes: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    if (stdin.destroyed || stdin.writableEnded) return resolve();
    stdin.write(bytes, () => resolve());
  });

/** From the program to the gateway, and then how it ended. */
async function passDown(session: ExecSession, line: ShellLine): Promise<void> {
  const pass = async (from: Readable, stream: 'stdout' | 'stderr') => {
    for await (const bytes of from as AsyncIterable<Buffer>)
      await line.write({ $case: stream, value: bytes });
  };
  const passed = Promise.all([pass(session.stdout, 'stdout'), pass(session.stderr, 'stderr')]);
  const [{ exitCode }] = await Promise.all([session.exit, passed]);
  await line.write({ $case: 'exit', value: { code: exitCode } });
  line.end();
}
