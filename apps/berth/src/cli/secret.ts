import type { Command } from 'commander';
import colors from 'picocolors';
import { BerthApiError, type Berth, type Secret } from '@berth/sdk';
import { ago, printTable } from './output';
import { processSources, readValues } from './secret-values';

type WithBerth = (work: (berth: Berth) => Promise<void>) => Promise<void>;

/** `berth secret …` */
export function addSecretCommands(program: Command, withBerth: WithBerth): void {
  const secret = program
    .command('secret')
    .description('variables for containers, sealed: functions name them');

  secret
    .command('create')
    .description('make a secret out of variables')
    .argument('<name>', 'its name')
    .argument('[variables...]', 'NAME=value; NAME=- reads it from standard input, NAME asks for it')
    .option('--from-dotenv <file>', 'variables of a dotenv file (- is standard input)')
    .option('--env <environment>', 'its environment', 'main')
    .option('--force', 'replace the variables of one that is there')
    .addHelpText(
      'after',
      '\nExamples:\n  berth secret create huggingface HF_TOKEN\n  berth secret create database --from-dotenv .env --force\n  pass show api-key | berth secret create api API_KEY=-',
    )
    .action((name: string, words: string[], options: { fromDotenv?: string; env: string; force?: boolean }) =>
      withBerth(async (berth) => {
        const values = await readValues(words, options.fromDotenv, processSources);
        const made = options.force
          ? await berth.secrets.put(name, values, options.env)
          : await berth.secrets.create(name, values, options.env).catch(sayForce);
        console.log(`${colors.green('✓')} ${made.name} (${made.secret_id}): ${made.variables.join(', ')}`);
      }),
    );

  secret
    .command('list')
    .description('list secrets and the names of their variables')
    .option('--env <environment>', 'of one environment')
    .action((options: { env?: string }) =>
      withBerth(async (berth) => {
        const secrets: Secret[] = [];
        const filter = options.env ? { environment: options.env } : {};
        for await (const each of berth.secrets.list(filter)) secrets.push(each);
        printTable(
          ['SECRET', 'NAME', 'ENVIRONMENT', 'VARIABLES', 'CREATED', 'UPDATED'],
          secrets.map((each) => [
            each.secret_id,
            each.name,
            each.environment,
            each.variables.join(', '),
            ago(each.created_at),
            ago(each.updated_at),
          ]),
        );
      }),
    );

  secret
    .command('delete')
    .description('remove a secret; functions that name it do not start any more')
    .argument('<secret>', 'its name or id')
    .option('--env <environment>', 'its environment', 'main')
    .action((nameOrId: string, options: { env: string }) =>
      withBerth(async (berth) => {
        const found = await findSecret(berth, nameOrId, options.env);
        await berth.secrets.delete(found.secret_id);
        console.log(`${found.name} is deleted.`);
      }),
    );
}

function sayForce(error: unknown): never {
  if (!(error instanceof BerthApiError) || error.code !== 'already_exists') throw error;
  throw new Error('There is a secret of this name: --force replaces its variables.', { cause: error });
}

async function findSecret(berth: Berth, nameOrId: string, environment: string): Promise<Secret> {
  const named = await berth.secrets.find(nameOrId, environment);
  if (named) return named;
  if (/^st-[0-9A-Za-z]{22}$/.test(nameOrId)) return berth.secrets.get(nameOrId);
  throw new Error(`There is no secret named ${nameOrId}. berth secret list shows what there is.`);
}
