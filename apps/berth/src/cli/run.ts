import type { Command } from 'commander';
import { FunctionFailed, type Berth } from '@berth/sdk';
import { withEphemeralApp, Interrupted } from './ephemeral-app';
import { readArguments } from './arguments';
import { readTypedArguments } from './typed-arguments';
import { describeFile, readTarget, runEntrypoint, type DescribedApp, type Parameter } from './user-file';
import { withBerth } from './with-berth';

/** `berth run` */
export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('make the app of a file for as long as one of its functions runs, and run that')
    .argument('<target>', 'file.py or file.ts, or file.py::function')
    .argument('[arguments...]', 'for the function, as its signature reads them: --name value, or by place')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nA local entrypoint runs here and calls the functions; a function runs in a container, and its result is printed' +
        ' as JSON.\n\nExamples:\n  berth run examples/squares/squares.py --n 5\n  berth run examples/squares/squares.py::square --x 3\n  berth run examples/triangles/triangles.ts::hypotenuse \'{"a": 3, "b": 4}\'',
    )
    .action((text: string, words: string[]) => withBerth((berth) => runTarget(berth, text, words)));
}

async function runTarget(berth: Berth, text: string, words: string[]): Promise<void> {
  const target = readTarget(text);
  if (!target) throw new Error(`${text} is no file with an app: write file.py, or file.ts::function.`);
  const described = await describeFile(target.file);
  const chosen = choose(described, target.name);
  // Before anything is made.
  const input = chosen.parameters ? readTypedArguments(words, chosen.parameters) : readArguments(words);

  await withEphemeralApp(berth, described, async ({ app, functions, signal, quiet }) => {
    if (chosen.isEntrypoint) {
      // It finds the functions by the app that it belongs to.
      const env = { BERTH_APP_ID: app.app_id };
      const code = await runEntrypoint(target.file, chosen.name, input, env, signal);
      await quiet();
      process.exitCode = code;
      return;
    }
    const made = functions.find((each) => each.function.name === chosen.name)!;
    const invocation = await berth.functions
      .invoke(made.function.function_id, input, { signal })
      .catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error;
      });
    await quiet();
    if (invocation.status !== 'success') throw new FunctionFailed(invocation);
    if (invocation.result !== null) console.log(JSON.stringify(invocation.result, null, 2));
  }).catch((error: unknown) => {
    if (!(error instanceof Interrupted)) throw error;
    console.error(error.message);
    process.exitCode = 130;
  });
}

interface Chosen {
  name: string;
  parameters: Parameter[] | null;
  isEntrypoint: boolean;
}

/** What is named, else the only entrypoint, else the only function. Throws, saying what there is. */
function choose({ app, functions, entrypoints }: DescribedApp, name: string | undefined): Chosen {
  const all: Chosen[] = [
    ...entrypoints.map((each) => ({ ...each, isEntrypoint: true })),
    ...functions.map(({ name, parameters }) => ({ name, parameters, isEntrypoint: false })),
  ];
  const found = name === undefined ? [] : all.filter((each) => each.name === name);
  if (found[0]) return found[0];
  const names = all.map((each) => each.name).join(', ') || 'none';
  if (name !== undefined) throw new Error(`The app ${app} has no ${name}. It has: ${names}.`);
  const only = entrypoints.length > 0 ? all.filter(({ isEntrypoint }) => isEntrypoint) : all;
  if (only.length === 1) return only[0]!;
  throw new Error(
    `Which one? Write file.py::name with one of: ${only.map((each) => each.name).join(', ') || 'none'}.`,
  );
}
