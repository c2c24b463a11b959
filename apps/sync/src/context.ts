import { join } from 'node:path';
import { openDatabase, type Database } from '@berth/database';
import type { Base, Logger } from '@berth/service-kit';
import { readSyncConfig } from './config';
import { openChunkStore, type ChunkStore } from './store/chunk-store';
import { schema } from './store/schema';

export interface Context extends AsyncDisposable {
  db: Database;
  chunks: ChunkStore;
  log: Logger;
}

export async function createContext({ config, env, log }: Base): Promise<Context> {
  const { postgresUrl } = readSyncConfig(env);
  const chunks = await openChunkStore(join(config.dataDir, 'sync'));
  const db = await openDatabase({
    ...schema,
    url: postgresUrl,
    onError: (err) => log.warn({ err }, 'a database connection was lost'),
  });
  return { db, chunks, log, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}
