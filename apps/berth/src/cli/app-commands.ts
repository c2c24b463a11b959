import type { Command } from 'commander';
import type { AppState, Deployment } from '@berth/sdk';
import { findApp } from './find';
import { printList, wholeNumber, withJson, type ListOptions } from './listing';
import { ago } from './output';
import { collect, withBerth } from './with-berth';

const listVersions = ({ functions }: Deployment): string =>
  functions.map(({ name, version }) => `${name} v${version}`).join(', ');

/** `berth app …` */
export function addAppCommands(program: Command): void {
  const app = program.command('app').description('apps of the workspace');
  withJson(app.command('list'))
    .description('list apps, newest first')
    .option('--state <state>', 'ephemeral, deployed or stopped')
    .option('--environment <name>', 'of one environment')
    .addHelpText('after', '\nExample:\n  berth app list --state deployed')
    .action((options: ListOptions & { state?: AppState; environment?: string }) =>
      withBerth(async (berth) => {
        const { state, environment } = options;
        const apps = await collect(
          berth.apps.list({ ...(state ? { state } : {}), ...(environment ? { environment } : {}) }),
        );
        printList(apps, options, ['APP', 'NAME', 'STATE', 'ENVIRONMENT', 'CREATED'], (each) => [
          each.app_id,
          each.name,
          each.state,
          each.environment,
          ago(each.created_at),
        ]);
      }),
    );
  app
    .command('stop')
    .description('end its containers and open calls; it takes no more')
    .argument('<app>', 'its name or id')
    .addHelpText('after', '\nExample:\n  berth app stop seattle-weather')
    .action((name: string) =>
      withBerth(async (berth) => {
        const found = await findApp(berth, name);
        await berth.apps.stop(found.app_id);
        console.log(`${found.name} is stopped.`);
      }),
    );
  withJson(app.command('history'))
    .description('list its deployments, newest first, with the version of each function')
    .argument('<app>', 'its name or id')
    .option('-n, --limit <count>', 'how many', wholeNumber, 20)
    .addHelpText('after', '\nExample:\n  berth app history seattle-weather')
    .action((name: string, options: ListOptions & { limit: number }) =>
      withBerth(async (berth) => {
        const { app_id } = await findApp(berth, name);
        const deployments = await collect(berth.apps.history(app_id), options.limit);
        printList(deployments, options, ['DEPLOYMENT', 'CREATED', 'BACK TO', 'FUNCTIONS'], (each) => [
          String(each.number),
          ago(each.created_at),
          each.rollback_of === null ? '' : String(each.rollback_of),
          listVersions(each),
        ]);
      }),
    );
  withJson(app.command('rollback'))
    .description('take all its functions back to a deployment, together; calls in flight finish on theirs')
    .argument('<app>', 'its name or id')
    .option('--version <number>', 'of the deployment; default: the one before the last', wholeNumber)
    .addHelpText(
      'after',
      '\nExamples:\n  berth app rollback seattle-weather\n  berth app rollback seattle-weather --version 3',
    )
    .action((name: string, options: ListOptions & { version?: number }) =>
      withBerth(async (berth) => {
        const found = await findApp(berth, name);
        const made = await berth.apps.rollback(found.app_id, options.version);
        if (options.json) console.log(JSON.stringify(made));
        else {
          console.log(
            `${found.name} is as it was in deployment ${made.rollback_of}: ${listVersions(made)} (deployment ${made.number}).`,
          );
        }
      }),
    );
}
