import { createInterface } from 'node:readline/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import colors from 'picocolors';
import type { Berth, Volume } from '@berth/sdk';
import { ago, printTable } from './output';

type WithBerth = (work: (berth: Berth) => Promise<void>) => Promise<void>;

/** `berth volume …` */
export function addVolumeCommands(program: Command, withBerth: WithBerth): void {
  const volume = program.command('volume').description('file trees that functions share');
  const environment = ['--env <environment>', 'its environment', 'main'] as const;

  volume
    .command('create')
    .description('make a volume, or find the one that has this name')
    .argument('<name>', 'its name')
    .option(...environment)
    .action((name: string, options: { env: string }) =>
      withBerth(async (berth) => {
        const made = await berth.volumes.create(name, options.env);
        console.log(`${colors.green('✓')} ${made.name} (${made.volume_id})`);
      }),
    );

  volume
    .command('list')
    .description('list volumes')
    .option('--env <environment>', 'of one environment')
    .action((options: { env?: string }) =>
      withBerth(async (berth) => {
        const volumes: Volume[] = [];
        const filter = options.env ? { environment: options.env } : {};
        for await (const each of berth.volumes.list(filter)) volumes.push(each);
        printTable(
          ['VOLUME', 'NAME', 'ENVIRONMENT', 'FILES', 'BYTES', 'REVISION', 'CHANGED'],
          volumes.map((each) => [
            each.volume_id,
            each.name,
            each.environment,
            String(each.files),
            String(each.bytes),
            String(each.revision),
            ago(each.updated_at),
          ]),
        );
      }),
    );

  volume
    .command('delete')
    .description('remove a volume with all its files, for good; functions that name it do not start any more')
    .argument('<volume>', 'its name or id')
    .option(...environment)
    .option('-y, --yes', 'do not ask')
    .action((nameOrId: string, options: { env: string; yes?: boolean }) =>
      withBerth(async (berth) => {
        const found = await findVolume(berth, nameOrId, options.env);
        if (!options.yes) await confirm(found);
        await berth.volumes.delete(found.volume_id);
        console.log(`${found.name} is deleted.`);
      }),
    );

  volume
    .command('ls')
    .description('list files')
    .argument('<volume>', 'its name or id')
    .argument('[path]', 'a file, or a folder with all that is below it', '/')
    .option(...environment)
    .action((nameOrId: string, path: string, options: { env: string }) =>
      withBerth(async (berth) => {
        const { volume_id } = await findVolume(berth, nameOrId, options.env);
        const rows: string[][] = [];
        for await (const file of berth.volumes.files(volume_id, path)) {
          const name = file.link ? `${file.path} -> ${file.link}` : file.path;
          rows.push([name, String(file.size), ago(file.modified_at)]);
        }
        printTable(['PATH', 'BYTES', 'CHANGED'], rows);
      }),
    );

  volume
    .command('put')
    .description('upload a file or a folder')
    .argument('<volume>', 'its name or id')
    .argument('<local>', 'a file or a folder on this machine')
    .argument('[path]', 'where to; a folder’s files go below it', '/')
    .option(...environment)
    .addHelpText('after', '\nExample:\n  berth volume put models ./llama /llama')
    .action((nameOrId: string, local: string, path: string, options: { env: string }) =>
      withBerth(async (berth) => {
        const { volume_id, name } = await findVolume(berth, nameOrId, options.env);
        const files = await berth.volumes.upload(volume_id, local, path, ({ bytesMoved, bytesTotal }) => {
          if (!process.stderr.isTTY) return;
          process.stderr.write(`\r${bytesMoved}/${bytesTotal} bytes uploaded\x1b[K`);
          if (bytesMoved === bytesTotal) process.stderr.write('\n');
        });
        console.log(`${colors.green('✓')} ${files} ${files === 1 ? 'file' : 'files'} to ${name}`);
      }),
    );

  volume
    .command('get')
    .description('download a file or a folder; - prints a file')
    .argument('<volume>', 'its name or id')
    .argument('<path>', 'a file or a folder')
    .argument('[local]', 'where to on this machine')
    .option(...environment)
    .action((nameOrId: string, path: string, local: string | undefined, options: { env: string }) =>
      withBerth(async (berth) => {
        const { volume_id, name } = await findVolume(berth, nameOrId, options.env);
        if (local === '-') {
          for await (const part of await berth.volumes.read(volume_id, path)) process.stdout.write(part);
          return;
        }
        const target = local ?? (basename(path) || name);
        await berth.volumes.download(volume_id, path, target, (file, isLink) => {
          if (isLink) console.error(colors.yellow(`${file} is a symbolic link, and is left out`));
          else console.log(file);
        });
      }),
    );

  volume
    .command('rm')
    .description('remove a file, or a folder with -r')
    .argument('<volume>', 'its name or id')
    .argument('<path>', 'a file or a folder')
    .option('-r, --recursive', 'a folder with all that is below it')
    .option(...environment)
    .action((nameOrId: string, path: string, options: { env: string; recursive?: boolean }) =>
      withBerth(async (berth) => {
        const { volume_id } = await findVolume(berth, nameOrId, options.env);
        const removed = await berth.volumes.remove(
          volume_id,
          path,
          options.recursive ? { recursive: true } : {},
        );
        console.log(`${removed} ${removed === 1 ? 'file' : 'files'} removed.`);
      }),
    );
}

async function findVolume(berth: Berth, nameOrId: string, environment: string): Promise<Volume> {
  const named = await berth.volumes.find(nameOrId, environment);
  if (named) return named;
  if (/^vo-[0-9A-Za-z]{22}$/.test(nameOrId)) return berth.volumes.get(nameOrId);
  throw new Error(`There is no volume named ${nameOrId}. berth volume list shows what there is.`);
}

/** Data is not got back: its name is typed. */
async function confirm({ name, files, bytes }: Volume): Promise<void> {
  if (!process.stdin.isTTY)
    throw new Error('Deleting a volume cannot be undone: --yes says that you mean it.');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const typed = await lines.question(
    `${name} holds ${files} files, ${bytes} bytes. Type its name to delete it: `,
  );
  lines.close();
  if (typed !== name) throw new Error('Nothing was deleted.');
}
