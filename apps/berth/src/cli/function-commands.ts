import type { Command } from 'commander';
import { findApp, findFunction } from './find';
import { printList, wholeNumber, withJson, type ListOptions } from './listing';
import { ago } from './output';
import { collect, withBerth } from './with-berth';

/** `berth function …` */
export function addFunctionCommands(program: Command): void {
  const group = program.command('function').description('functions of an app');
  withJson(group.command('list'))
    .description('list the functions of an app')
    .argument('<app>', 'its name or id')
    .addHelpText('after', '\nExample:\n  berth function list seattle-weather')
    .action((name: string, options: ListOptions) =>
      withBerth(async (berth) => {
        const { app_id } = await findApp(berth, name);
        printList(
          await collect(berth.functions.list(app_id)),
          options,
          ['FUNCTION', 'NAME', 'VERSION', 'HANDLER', 'CARDS', 'CPU', 'MEMORY'],
          (each) => [
            each.function_id,
            each.name,
            String(each.version),
            each.handler,
            [each.gpu ?? []].flat().join(', ') || '-',
            String(each.cpu),
            `${each.memory} MiB`,
          ],
        );
      }),
    );
  group
    .command('delete')
    .description('end its containers and open calls; its name is free again, its calls stay readable')
    .argument('<function>', 'app.function, or its id')
    .addHelpText('after', '\nExample:\n  berth function delete seattle-weather.summarize-year')
    .action((name: string) =>
      withBerth(async (berth) => {
        const found = await findFunction(berth, name);
        await berth.functions.delete(found.function_id);
        console.log(`${found.name} is deleted.`);
      }),
    );
  withJson(group.command('versions'))
    .description('list its versions, newest first, with what each changed')
    .argument('<function>', 'app.function, or its id')
    .option('-n, --limit <count>', 'how many', wholeNumber, 20)
    .addHelpText('after', '\nExample:\n  berth function versions seattle-weather.summarize-year')
    .action((name: string, options: ListOptions & { limit: number }) =>
      withBerth(async (berth) => {
        const { function_id } = await findFunction(berth, name);
        const versions = await collect(berth.functions.versions(function_id), options.limit);
        printList(versions, options, ['VERSION', 'CREATED', 'CURRENT', 'CHANGED'], (each) => [
          String(each.version),
          ago(each.created_at),
          each.current ? 'yes' : '',
          each.changed.join(', '),
        ]);
      }),
    );
  withJson(group.command('rollback'))
    .description('make another version the one that new calls run; calls in flight finish on theirs')
    .argument('<function>', 'app.function, or its id')
    .option('--version <number>', 'default: the one before the current', wholeNumber)
    .addHelpText('after', '\nExample:\n  berth function rollback seattle-weather.summarize-year')
    .action((name: string, options: ListOptions & { version?: number }) =>
      withBerth(async (berth) => {
        const { function_id } = await findFunction(berth, name);
        const back = await berth.functions.rollback(function_id, options.version);
        console.log(options.json ? JSON.stringify(back) : `${back.name} runs version ${back.version}.`);
      }),
    );
}
