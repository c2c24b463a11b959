import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import colors from 'picocolors';
import { Image, type ImageDefinition, type ImageState } from '@berth/sdk';
import { printList, withJson, type ListOptions } from './listing';
import { ago } from './output';
import { collect, withBerth } from './with-berth';

const COLOURS: Record<ImageState, (text: string) => string> = {
  building: colors.cyan,
  ready: colors.green,
  failed: colors.red,
};

/** `berth image …` */
export function addImageCommands(program: Command): void {
  const image = program.command('image').description('what containers are made of');
  image
    .command('build')
    .description('build an image, or find the one that is built already, and print its id')
    .argument('<file>', 'a Containerfile, whose folder is its context, or a definition as JSON')
    .option('--secret <name>', 'a secret with REGISTRY_USERNAME and REGISTRY_PASSWORD')
    .option('--env <environment>', 'of that secret')
    .addHelpText('after', '\nExamples:\n  berth image build Containerfile\n  berth image build image.json')
    .action((file: string, options: { secret?: string; env?: string }) =>
      withBerth(async (berth) => {
        const built = await berth.images.build(readDefinition(file, options), {
          onLine: ({ text }) => console.error(text),
        });
        console.log(built.image_id);
      }),
    );

  withJson(image.command('list'))
    .description('list images, newest first')
    .action((options: ListOptions) =>
      withBerth(async (berth) => {
        const images = await collect(berth.images.list());
        printList(images, options, ['IMAGE', 'STATE', 'MADE OF', 'CREATED', 'BUILT', 'WHY'], (each) => [
          each.image_id,
          COLOURS[each.state](each.state),
          summary(each.definition),
          ago(each.created_at),
          ago(each.finished_at),
          (each.error?.message ?? each.waiting ?? '').split('\n')[0]!.slice(0, 100),
        ]);
      }),
    );

  image
    .command('get')
    .description('print an image as JSON')
    .argument('<image>', 'its id (im-…)')
    .action((id: string) =>
      withBerth(async (berth) => console.log(JSON.stringify(await berth.images.get(id), null, 2))),
    );

  image
    .command('logs')
    .description('print what its last build printed')
    .argument('<image>', 'its id (im-…)')
    .option('-f, --follow', 'go on until it is built or has failed')
    .action((id: string, options: { follow?: boolean }) =>
      withBerth(async (berth) => {
        for await (const { text } of berth.images.logs(id, options)) console.log(text);
      }),
    );

  image
    .command('delete')
    .description('remove an image that no function uses')
    .argument('<image>', 'its id (im-…)')
    .action((id: string) =>
      withBerth(async (berth) => {
        await berth.images.delete(id);
        console.log(`${id} is deleted.`);
      }),
    );
}

function readDefinition(
  file: string,
  { secret, env }: { secret?: string; env?: string },
): Image | ImageDefinition {
  const text = readFileSync(file, 'utf8');
  const registry = { ...(secret ? { secret } : {}), ...(env ? { environment: env } : {}) };
  if (!file.endsWith('.json')) return Image.containerfile(text, { context: dirname(file), ...registry });
  const definition = JSON.parse(text) as ImageDefinition;
  return {
    ...definition,
    ...(secret ? { registry_secret: secret } : {}),
    ...(env ? { environment: env } : {}),
  };
}

function summary({ base, steps, containerfile }: ImageDefinition): string {
  if (containerfile) return 'a Containerfile';
  // The API shows every kind of step, and null for those that it is not.
  const kinds = (steps ?? []).flatMap((step) =>
    Object.entries(step).flatMap(([kind, it]) => (it ? [kind] : [])),
  );
  return [base || 'berth/base', ...new Set(kinds)].join(' + ');
}
