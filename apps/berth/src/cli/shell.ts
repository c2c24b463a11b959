import { InvalidArgumentError, type Command } from 'commander';
import { findCredentials, type Berth } from '@berth/sdk';
import { withEphemeralApp, Interrupted } from './ephemeral-app';
import { findFunction } from './find';
import { openShell } from './shell-client';
import { describeFile, readTarget, type DescribedApp } from './user-file';
import { withBerth } from './with-berth';

interface Options {
  cmd?: string;
  timeout?: number;
  /** Undefined: where both ends here are terminals. */
  pty?: boolean;
}

/** `berth shell` */
export function addShellCommand(program: Command): void {
  program
    .command('shell')
    .description(
      "open a terminal in a fresh container of a function: its image, source, volumes, secrets and cards; the shell's exit status becomes this command's",
    )
    .argument('<target>', 'file.py::function, an app, app.function, or the id of a function')
    .argument('[function]', 'the function, after an app')
    .option('-c, --cmd <command>', 'run this in place of a shell')
    .option('--timeout <seconds>', 'the longest that it may run, up to 86400 (default: 3600)', readSeconds)
    .option('--pty', 'give the program a terminal, whatever this end is')
    .option('--no-pty', 'give it none')
    .addHelpText(
      'after',
      '\nThe container serves this shell alone, and ends with it, or when its client leaves.\n\nExamples:\n' +
        '  berth shell examples/squares/squares.py::square\n  berth shell seattle-weather summarize-year\n' +
        '  berth shell seattle-weather summarize-year --cmd "python3 -V"\n  echo "ls -l" | berth shell seattle-weather summarize-year',
    )
    .action((target: string, name: string | undefined, options: Options) =>
      withBerth((berth) => shell(berth, target, name, options)),
    );
}

async function shell(
  berth: Berth,
  target: string,
  name: string | undefined,
  options: Options,
): Promise<void> {
  const { stdin, stdout } = process;
  const terminal = options.pty ?? (stdin.isTTY && stdout.isTTY);
  if (terminal && !stdin.isTTY) throw new Error('--pty needs a terminal here: this input is none.');
  const open = async (functionId: string, signal?: AbortSignal) => {
    const { cmd: command, timeout } = options;
    process.exitCode = await openShell(findCredentials(), { functionId, command, terminal, timeout }, signal);
  };
  const file = name === undefined ? readTarget(target) : undefined;
  if (!file) {
    const found = await findFunction(berth, name === undefined ? target : `${target}.${name}`);
    return open(found.function_id);
  }
  const described = await describeFile(file.file);
  const chosen = choose(described, file.name);
  await withEphemeralApp(berth, described, async ({ functions, signal }) => {
    const made = functions.find((each) => each.function.name === chosen)!;
    await open(made.function.function_id, signal);
  }).catch((error: unknown) => {
    if (!(error instanceof Interrupted)) throw error;
    console.error(error.message);
    process.exitCode = 130;
  });
}

/** What is named, else the only function. Throws, saying what there is. */
function choose({ app, functions }: DescribedApp, name: string | undefined): string {
  const names = functions.map((each) => each.name);
  if (name !== undefined && names.includes(name)) return name;
  if (name === undefined && names.length === 1) return names[0]!;
  const list = names.join(', ') || 'none';
  throw new Error(
    name === undefined
      ? `Which one? Write file.py::name with one of: ${list}.`
      : `The app ${app} has no ${name}. It has: ${list}.`,
  );
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('It must be a whole number of seconds from 1 to 86400.');
}
