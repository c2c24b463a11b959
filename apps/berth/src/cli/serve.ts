import { watch } from 'node:fs/promises';
import type { Command } from 'commander';
import colors from 'picocolors';
import { isSource, type Berth } from '@berth/sdk';
import { deployApp, showUpload, type Deployed } from './deploy-app';
import { Interrupted, withEphemeralApp, type EphemeralApp } from './ephemeral-app';
import { printTable } from './output';
import { describeFile, FileFailed, readTarget } from './user-file';
import { withBerth } from './with-berth';

/** An editor writes a file in several steps, and several files at once. Milliseconds. */
const SETTLE_MS = 150;

/** `berth serve` */
export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('make the app of a file, and make it anew whenever a file beside it is saved, until Ctrl-C')
    .argument('<file>', 'file.py or file.ts')
    .addHelpText('after', '\nExample:\n  berth serve examples/squares/squares.py')
    .action((text: string) =>
      withBerth(async (berth) => {
        const target = readTarget(text);
        if (!target) throw new Error(`${text} is no file with an app.`);
        const described = await describeFile(target.file);
        await withEphemeralApp(berth, described, async (app) => {
          show(app);
          await serve(berth, target.file, described.folder, app);
        }).catch((error: unknown) => {
          if (!(error instanceof Interrupted)) throw error;
          console.log(error.message);
        });
      }),
    );
}

async function serve(
  berth: Berth,
  file: string,
  folder: string,
  { app, signal }: EphemeralApp,
): Promise<void> {
  console.log(colors.dim(`Serving ${app.name} (${app.app_id}) from ${folder}; Ctrl-C stops it.`));
  for await (const _ of savedFiles(folder, signal)) {
    try {
      const described = await describeFile(file);
      const deployed = await deployApp(berth, described, async () => app, showUpload);
      for await (const each of berth.functions.list(app.app_id)) {
        if (!described.functions.some(({ name }) => name === each.name))
          await berth.functions.delete(each.function_id);
      }
      show(deployed);
    } catch (error) {
      if (signal.aborted) break;
      // The next save may mend it; what ran before goes on.
      if (!(error instanceof FileFailed)) console.error(colors.red((error as Error).message));
      console.error(colors.dim('Waiting for the next save.'));
    }
  }
  throw signal.reason;
}

/** Gives one word for each burst of changes below `folder`, until the signal aborts. */
async function* savedFiles(folder: string, signal: AbortSignal): AsyncGenerator<void> {
  let changed = Promise.withResolvers<void>();
  const ended = new Promise<void>((resolve) =>
    signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  const watching = (async () => {
    for await (const { filename } of watch(folder, { recursive: true, signal })) {
      if (filename === null || isSource(filename)) changed.resolve();
    }
  })();
  const failed = watching.catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  failed.catch(() => undefined); // Heard in the race below.
  while (!signal.aborted) {
    await Promise.race([changed.promise, ended, failed]);
    if (signal.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    changed = Promise.withResolvers<void>();
    yield;
  }
}

function show({ functions }: Deployed): void {
  printTable(
    ['FUNCTION', 'VERSION', 'WHERE'],
    functions.map(({ function: each }) => [
      each.name,
      String(each.version),
      each.web_url ?? each.function_id,
    ]),
  );
}
