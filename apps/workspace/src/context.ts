import { openDatabase, type Database } from '@berth/database';
import type { Base } from '@berth/service-kit';
import { readWorkspaceConfig } from './config';
import { schema } from './store/schema';

export interface Context extends AsyncDisposable {
  db: Database;
}

export async function createContext({ env, log }: Base): Promise<Context> {
  const { postgresUrl } = readWorkspaceConfig(env);
  const db = await openDatabase({
    ...schema,
    url: postgresUrl,
    onError: (err) => log.warn({ err }, 'a database connection was lost'),
  });
  return { db, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}
