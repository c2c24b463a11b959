/** A user's file with an app in it, as the user's own Python or Node tells of it. */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { pythonModule, workerFolder } from '@berth/worker-protocol';
import { platformNode } from './platform-node';

const parameterSchema = z.object({
  name: z.string(),
  /** How a word of the command line is read; empty: nothing is said of it. */
  type: z.enum(['int', 'float', 'str', 'bool', 'json', '']),
  kind: z.enum(['positional_only', 'positional_or_keyword', 'var_positional', 'keyword_only', 'var_keyword']),
  required: z.boolean(),
});
export type Parameter = z.output<typeof parameterSchema>;

const functionSchema = z.object({
  name: z.string(),
  /** In the words of the REST API, without its source; its image may be said as what that is made of. */
  definition: z.looseObject({ runtime: z.enum(['python', 'node']), handler: z.string() }),
  /** Null: the language does not say, so arguments are read as they look. */
  parameters: z.array(parameterSchema).nullable(),
});
export type DescribedFunction = z.output<typeof functionSchema>;

const appSchema = z.object({
  app: z.string(),
  environment: z.string().nullable(),
  /** What is uploaded. */
  folder: z.string(),
  functions: z.array(functionSchema),
  /** Names of volumes that are made where they are missing. */
  volumes: z.array(z.string()).default([]),
  entrypoints: z.array(z.object({ name: z.string(), parameters: z.array(parameterSchema) })),
});
export type DescribedApp = z.output<typeof appSchema>;

const PYTHON = /\.py$/;
const NODE = /\.[mc]?[jt]s$/;

/** The file said itself what is wrong with it. */
export class FileFailed extends Error {}

/** `file.py`, or `file.ts::function`; undefined for what names no such file. */
export function readTarget(text: string): { file: string; name: string | undefined } | undefined {
  const [file, name] = text.split('::', 2);
  return PYTHON.test(file!) || NODE.test(file!) ? { file: file!, name: name || undefined } : undefined;
}

/** Imports the file and asks what app is in it. What it prints goes to stderr. Throws FileFailed. */
export async function describeFile(file: string): Promise<DescribedApp> {
  const { code, stdout } = PYTHON.test(file)
    ? await runModule(['describe', file], 'pipe', {})
    : await runProgram(platformNode(), [describeScript(), file], 'pipe', process.env);
  if (code !== 0) throw new FileFailed(`${file} could not be read: the reason is above.`);
  return appSchema.parse(JSON.parse(stdout));
}

/** Runs a local entrypoint to its end, on this terminal; gives its exit code. */
export async function runEntrypoint(
  file: string,
  name: string,
  input: object,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<number> {
  const { code } = await runModule(['entrypoint', file, name, JSON.stringify(input)], 'inherit', env, signal);
  return code;
}

/** The module that came with Berth, and not what the current folder happens to hold under its name. */
const MAIN = 'import sys; sys.path.pop(0)\nfrom berth._manifest import main\nmain()';

function runModule(
  words: string[],
  stdout: 'pipe' | 'inherit',
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<Ended> {
  const python = process.env.BERTH_PYTHON || 'python3';
  const path = [dirname(pythonModule()), process.env.PYTHONPATH].filter(Boolean).join(':');
  const whole = { ...process.env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1', ...env };
  return runProgram(python, ['-c', MAIN, ...words], stdout, whole, signal);
}

/** Beside the SDK that the build made: a bundle, since users' files import it without installing it. */
const describeScript = (): string => join(workerFolder(), 'lib/describe.mjs');

interface Ended {
  code: number;
  stdout: string;
}

function runProgram(
  program: string,
  words: string[],
  stdout: 'pipe' | 'inherit',
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { env, stdio: ['inherit', stdout, 'inherit'] });
    let text = '';
    child.stdout?.on('data', (data: Buffer) => (text += data.toString()));
    child.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'ENOENT'
          ? new Error(
              `There is no ${program}: install Python 3.9 or newer, or say where it is in BERTH_PYTHON.`,
            )
          : cause,
      ),
    );
    // At a terminal Ctrl-C reaches it by itself.
    const interrupt = () => void (process.stdin.isTTY || child.kill('SIGINT'));
    signal?.addEventListener('abort', interrupt, { once: true });
    child.once('close', (code, ended) => {
      signal?.removeEventListener('abort', interrupt);
      resolve({ code: code ?? (ended === 'SIGINT' ? 130 : 1), stdout: text });
    });
  });
}
