import { PassThrough, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';

import type Docker from 'dockerode';

import { EngineError, type ExecRequest, type ExecSession } from '../engine';
import { checkTerminalSize } from '../validate-spec';
import { toEnv, toUser } from './create-body';
import { toEngineError } from './docker-error';
import type { EventFeed } from './event-feed';
import { readFrames } from './frames';

const MARK = 'BERTH_EXEC_ID';

/**
 * Docker has no way to end an exec, and its pid is one of the host's. The process and its children carry a mark in
 * their environment, by which a second exec finds them; needs `sh`, `tr` and `grep` in the image.
 */
const KILL_MARKED = `for p in /proc/[0-9]*; do
  tr '\\0' '\\n' <"$p/environ" 2>/dev/null | grep -qx "${MARK}=$1" && kill -9 "\${p#/proc/}" 2>/dev/null
done; true`;

/** Two requests: make the exec, then start it on a connection that becomes its streams. */
export async function dockerExec(
  docker: Docker,
  feed: EventFeed,
  id: string,
  request: ExecRequest,
): Promise<ExecSession> {
  const tty = request.tty ?? false;
  const mark = randomUUID();
  const code = Promise.withResolvers<number>();
  let execId: string | undefined;
  // Heard from before the start on, or a quick process would end unheard.
  const heard = new Map<string, number>();
  const unlisten = feed.onEvent(({ action, id: container, attributes }) => {
    if (action !== 'exec_die' || container !== id) return;
    if (execId === undefined) heard.set(attributes.execID!, Number(attributes.exitCode));
    else if (attributes.execID === execId) code.resolve(Number(attributes.exitCode));
  });

  try {
    const exec = await docker.getContainer(id).exec({
      Cmd: [...request.command],
      Env: toEnv({ ...request.env, [MARK]: mark }),
      ...(request.cwd === undefined ? {} : { WorkingDir: request.cwd }),
      ...(request.user === undefined ? {} : { User: toUser(request.user) }),
      AttachStdin: request.stdin ?? false,
      AttachStdout: true,
      AttachStderr: true,
      Tty: tty,
    });
    execId = exec.id;
    const early = heard.get(exec.id);
    if (early !== undefined) code.resolve(early);

    const socket: Duplex = await exec.start({ hijack: true, stdin: true, Tty: tty });
    if (tty) await exec.resize({ w: request.columns ?? 80, h: request.rows ?? 24 }).catch(() => undefined);

    const { stdout, stderr, drained } = split(socket, tty);
    const exit = drained
      .then(async () => {
        const { Running, ExitCode } = await exec.inspect();
        if (!Running && ExitCode !== null) return { exitCode: ExitCode };
        // The output ends a moment before the engine knows the code.
        return { exitCode: await code.promise };
      })
      .catch((error: unknown) => {
        throw toEngineError(error, `learn how a process in container ${id.slice(0, 12)} ended`);
      })
      .finally(unlisten);
    exit.catch(() => undefined);

    return {
      stdin: request.stdin ? socketInput(socket) : discarded(),
      stdout,
      stderr,
      exit,
      resize: async (columns, rows) => {
        if (!tty) throw new EngineError('invalid', 'Only a process with a terminal has a size; set tty.');
        checkTerminalSize(columns, rows);
        await exec.resize({ w: columns, h: rows }).catch((error: unknown) => {
          throw toEngineError(error, 'resize the terminal');
        });
      },
      kill: async () => {
        try {
          const killer = await docker.getContainer(id).exec({
            Cmd: ['/bin/sh', '-c', KILL_MARKED, 'sh', mark],
            ...(request.user === undefined ? {} : { User: toUser(request.user) }),
            AttachStdout: true,
          });
          const stream = await killer.start({});
          stream.resume();
          await new Promise((resolve) => stream.once('close', resolve));
        } catch (error) {
          const failure = toEngineError(error, 'end a process');
          // Gone with its container: that is what was asked for.
          if (failure.kind !== 'not_found' && failure.kind !== 'conflict') throw failure;
        }
      },
    };
  } catch (error) {
    unlisten();
    throw toEngineError(error, `run ${request.command[0]} in container ${id.slice(0, 12)}`);
  }
}

function split(socket: Duplex, tty: boolean) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  if (tty) {
    stderr.end();
    return { stdout, stderr, drained: pipeline(socket, stdout) };
  }
  const drained = (async () => {
    try {
      for await (const { stream, data } of readFrames(socket)) {
        const target = stream === 'stdout' ? stdout : stderr;
        // A slow reader slows the process down rather than filling this one's memory.
        if (!target.write(data)) await new Promise((resolve) => target.once('drain', resolve));
      }
    } finally {
      stdout.end();
      stderr.end();
    }
  })();
  return { stdout, stderr, drained };
}

/** Ending it closes only this half of the connection, so that output still arrives. */
function socketInput(socket: Duplex): Writable {
  return new Writable({
    write: (chunk, _encoding, done) => void socket.write(chunk, done),
    final: (done) => void socket.end(done),
  });
}

function discarded(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
