import type { Command } from 'commander';
import colors from 'picocolors';
import type { InvocationStatus } from '@berth/sdk';
import { findFunction } from './find';
import { printList, wholeNumber, withJson, type ListOptions } from './listing';
import { ago, phaseLines } from './output';
import { collect, withBerth } from './with-berth';

const COLOURS: Record<InvocationStatus, (text: string) => string> = {
  pending: colors.dim,
  running: colors.cyan,
  success: colors.green,
  failure: colors.red,
  terminated: colors.yellow,
};

/** `berth call …` */
export function addCallCommands(program: Command): void {
  const call = program.command('call').description('calls of functions');
  withJson(call.command('list'))
    .description('list the calls of a function, newest first')
    .argument('<function>', 'app.function, or its id')
    .option('-n, --limit <count>', 'how many', wholeNumber, 20)
    .addHelpText('after', '\nExample:\n  berth call list seattle-weather.summarize-year')
    .action((name: string, options: ListOptions & { limit: number }) =>
      withBerth(async (berth) => {
        const { function_id } = await findFunction(berth, name);
        const calls = await collect(berth.functions.invocations(function_id), options.limit);
        printList(calls, options, ['CALL', 'STATUS', 'CREATED', 'TRIES', 'ERROR'], (each) => [
          each.call_id,
          COLOURS[each.status](each.status),
          ago(each.created_at),
          String(each.attempts),
          each.error ? `${each.error.type}: ${each.error.message.split('\n')[0]}` : '',
        ]);
      }),
    );
  call
    .command('get')
    .description('print a call as JSON: its status, result or error; its phases to stderr')
    .argument('<call>', 'its id (fc-…)')
    .addHelpText('after', '\nExample:\n  berth call get fc-0353d24z7hoIulucaedFJh')
    .action((id: string) =>
      withBerth(async (berth) => {
        const found = await berth.calls.get(id);
        console.log(JSON.stringify(found, null, 2));
        for (const line of phaseLines(found.phases)) console.error(line);
      }),
    );
  call
    .command('cancel')
    .description('end a call, also one that is running')
    .argument('<call>', 'its id (fc-…)')
    .addHelpText('after', '\nExample:\n  berth call cancel fc-0353d24z7hoIulucaedFJh')
    .action((id: string) => withBerth(async (berth) => console.log((await berth.calls.cancel(id)).status)));
}
