import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { detach, status, stop, up, upDetached } from './commands';
import { createDataFolder, dataFolder } from './data-folder';
import { cleanUpAfterDockerd, ownDockerd } from './dockerd';
import { Refusal } from './refusal';
import { Supervisor } from './supervisor';
import type { Parts } from './up';

const USAGE = `usage: up [--detach] [--separate]    bring the platform up
       stop                         stop it
       status [--json]              what runs, and what happened to it
       with-dockerd -- command …    run a command beside a Docker Engine of our own, as DOCKER_HOST`;

const say = (line: string) => console.log(line);

/** What a program of this kind is made of. */
export interface Program {
  /** Its own file: it starts itself again to detach. */
  file: string;
  partsFor: (separate: boolean) => Parts;
}

async function runUp({ file, partsFor }: Program, args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { detach: { type: 'boolean' }, separate: { type: 'boolean' }, 'report-to': { type: 'string' } },
  });
  const parts = partsFor(values.separate ?? false);
  const report = values['report-to'];
  if (report !== undefined)
    return upDetached(
      process.env,
      parts,
      (message) => tell(Number(report), `${JSON.stringify(message)}\n`),
      say,
    );
  if (!values.detach) return up(process.env, parts, say);
  const again = [file, 'up', '--report-to=3', ...(values.separate ? ['--separate'] : [])];
  return detach(process.env, again, say);
}

/** Whoever started us may be gone: then nobody listens, and the platform comes up all the same. */
function tell(fd: number, text: string): void {
  try {
    writeSync(fd, text);
  } catch {
    say(text);
  }
}

/** Runs a command with a Docker Engine that lives as long as it does. */
async function withDockerd(args: string[]): Promise<number> {
  const command = args[0] === '--' ? args.slice(1) : args;
  if (!command[0]) throw new Refusal(USAGE);
  const root = mkdtempSync(join(tmpdir(), 'berth-dockerd-'));
  const folder = dataFolder(root, tmpdir());
  createDataFolder(folder);
  const dockerd = ownDockerd(folder);
  const supervisor = new Supervisor(() => undefined);
  try {
    await supervisor.start(dockerd.spec);
    const child = spawn(command[0], command.slice(1), {
      stdio: 'inherit',
      env: { ...process.env, DOCKER_HOST: dockerd.host },
    });
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => child.kill(name));
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, name) => resolve(code ?? 128 + constants.signals[name ?? 'SIGKILL']));
    });
  } finally {
    await supervisor.stop([dockerd.spec.name]);
    cleanUpAfterDockerd(folder);
    rmSync(root, { recursive: true, force: true });
  }
}

function run(program: Program, [command, ...args]: string[]): Promise<number> | number {
  switch (command) {
    case 'up':
      return runUp(program, args);
    case 'stop':
      return stop(process.env, say);
    case 'status':
      return status(process.env, args.includes('--json'), say);
    case 'with-dockerd':
      return withDockerd(args);
    default:
      throw new Refusal(USAGE);
  }
}

/** Does what the words of the command line say, and exits with its code. Failures are told on standard error. */
export async function runProgram(program: Program, words: string[]): Promise<never> {
  // Whoever reads our output may be gone before us; the platform does not end for it.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  try {
    process.exitCode = await run(program, words);
  } catch (error) {
    const unknownOption = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') ?? false;
    if (unknownOption) console.error(`${(error as Error).message}\n${USAGE}`);
    else console.error(error instanceof Refusal ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
  // Pipes to children that ended badly must not keep us.
  process.exit();
}
