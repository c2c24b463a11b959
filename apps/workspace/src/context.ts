import { openDatabase, type Database } from '@berth/database';
import type { Base, Logger } from '@berth/service-kit';
import { readWorkspaceConfig } from './config';
import { schema } from './store/schema';
import { openSeal, type Seal } from './store/seal';

export interface Context extends AsyncDisposable {
  db: Database;
  seal: Seal;
  log: Logger;
}

export async function createContext({ config, env, log }: Base): Promise<Context> {
  const { postgresUrl } = readWorkspaceConfig(env);
  const seal = openSeal(config.keysDir);
  const db = await openDatabase({
    ...schema,
    url: postgresUrl,
    onError: (err) => log.warn({ err }, 'a database connection was lost'),
  });
  return { db, seal, log, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}
