import { Command } from 'commander';
import colors from 'picocolors';
import { BerthApiError, FunctionFailed } from '@berth/sdk';
import { addAppCommands } from './app-commands';
import { readArguments } from './arguments';
import { addCallCommands } from './call-commands';
import { completionScript } from './completion';
import { deployWhat, showUpload } from './deploy-app';
import { findFunction } from './find';
import { addLogCommands } from './log-commands';
import { addFunctionCommands } from './function-commands';
import { addImageCommands } from './image';
import { ago, errorLines, phaseLines, printTable } from './output';
import { addRunCommand } from './run';
import { addSecretCommands } from './secret';
import { addServeCommand } from './serve';
import { addShellCommand } from './shell';
import { addVolumeCommands } from './volume';
import { collect, withBerth } from './with-berth';

/** The command line. `addPlatform` adds what starts and stops the platform itself. */
export function createProgram(addPlatform: (program: Command) => void): Command {
  const program = new Command('berth')
    .description('Functions, workspaces and their money on the GPU machines that you own.')
    .configureHelp({ sortSubcommands: false })
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .addHelpText(
      'after',
      '\nExamples:\n  berth up\n  berth deploy examples/seattle-weather\n  berth invoke seattle-weather.summarize-year 2012\n  berth logs seattle-weather --follow',
    );
  addPlatform(program);

  program
    .command('deploy')
    .description(
      'upload the folder of a Python or TypeScript file, or one with a berth.json, and make its app and each function of it; others of the app stay',
    )
    .argument('[what]', 'the file, or the folder', '.')
    .addHelpText('after', '\nExamples:\n  berth deploy squares.py\n  berth deploy examples/seattle-weather')
    .action((what: string) =>
      withBerth(async (berth) => {
        const { app, tree, functions, number } = await deployWhat(berth, what, showUpload);
        console.log(
          `${colors.green('✓')} ${app.name} (${app.app_id}) from ${tree.tree_id}, deployment ${number}`,
        );
        printTable(
          ['FUNCTION', 'ID', 'VERSION', 'CALL IT WITH'],
          functions.map(({ function: each }) => [
            each.name,
            each.function_id,
            String(each.version),
            each.web_url ?? `berth invoke ${app.name}.${each.name}`,
          ]),
        );
      }),
    );

  addRunCommand(program);
  addServeCommand(program);
  addShellCommand(program);

  program
    .command('invoke')
    .description('call a function and print its result as JSON')
    .argument('<function>', 'app.function, or its id')
    .argument('[arguments...]', 'positional arguments as JSON or bare words; --name value for named ones')
    .option('--trace', 'also print the phases of the call (to stderr)')
    .option('--spawn', 'do not wait: print the call id')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nOptions of berth itself come before the function; all after it is for the function.\n\nExamples:\n  berth invoke seattle-weather.summarize-year 2012\n  berth invoke --trace seattle-weather.summarize-year --year 2013',
    )
    .action((name: string, words: string[], options: { trace?: boolean; spawn?: boolean }) =>
      withBerth(async (berth) => {
        const { function_id } = await findFunction(berth, name);
        const input = readArguments(words);
        if (options.spawn) {
          console.log((await berth.functions.spawn(function_id, input)).call_id);
          return;
        }
        const invocation = await berth.functions.invoke(function_id, input);
        if (options.trace) for (const line of phaseLines(invocation.phases)) console.error(line);
        if (invocation.status !== 'success') throw new FunctionFailed(invocation);
        console.log(JSON.stringify(invocation.result, null, 2));
      }),
    );

  program
    .command('ps')
    .description('list containers')
    .option('-a, --all', 'also those that have ended')
    .action((options: { all?: boolean }) =>
      withBerth(async (berth) => {
        const containers = await collect(berth.containers.list(options.all ? { all: true } : {}));
        printTable(
          ['CONTAINER', 'FUNCTION', 'VERSION', 'STATE', 'CARDS', 'NODE', 'CREATED', 'WHY'],
          containers.map((each) => [
            each.container_id,
            each.function_id,
            each.version === 0 ? 'shell' : String(each.version),
            each.state,
            each.devices
              .map(({ model, simulated }) => (simulated ? `${model} (simulated)` : model))
              .join(', ') || '-',
            each.node_id,
            ago(each.created_at),
            each.reason ?? '',
          ]),
        );
      }),
    );

  const node = program.command('node').description('the machines that run containers');
  node
    .command('list')
    .description('list nodes, with what is free on them')
    .action(() =>
      withBerth(async (berth) => {
        printTable(
          ['NODE', 'NAME', 'STATE', 'ENGINE', 'CPU FREE', 'MEMORY FREE', 'CARDS', 'CONTAINERS', 'HEARD'],
          (await berth.nodes.list()).map((each) => [
            each.node_id,
            each.name,
            each.state,
            each.engine,
            `${each.cpu_free}/${each.cpu}`,
            `${each.memory_free}/${each.memory} MiB`,
            each.devices
              .map(({ model, simulated }) => (simulated ? `${model} (simulated)` : model))
              .join(', ') || '-',
            String(each.containers),
            ago(each.last_heartbeat_at),
          ]),
        );
      }),
    );

  addAppCommands(program);
  addFunctionCommands(program);
  addCallCommands(program);
  addLogCommands(program);

  addImageCommands(program);
  addSecretCommands(program, withBerth);
  addVolumeCommands(program, withBerth);

  program
    .command('whoami')
    .description('say who the credentials speak for')
    .action(() => withBerth(async (berth) => console.log(JSON.stringify(await berth.whoAmI(), null, 2))));

  program
    .command('completion')
    .description('print a completion script for a shell')
    .argument('<shell>', 'bash or zsh')
    .addHelpText('after', '\nExample:\n  eval "$(berth completion bash)"')
    .action((shell: string) => console.log(completionScript(shell, program)));

  return program;
}

/** Runs the command line; failures are a sentence on stderr and exit code 1. */
export async function runProgram(program: Command, argv: string[]): Promise<void> {
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof FunctionFailed && error.error) {
      for (const line of errorLines(error.error)) console.error(line);
    } else if (error instanceof BerthApiError) {
      console.error(`${colors.red(error.code)}: ${error.message}`);
      if (error.field) console.error(`  field: ${error.field}`);
      if (error.requestId) console.error(colors.dim(`  request: ${error.requestId}`));
    } else {
      console.error(colors.red((error as Error).message));
    }
    process.exitCode = 1;
  }
}
