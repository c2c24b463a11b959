import { join } from 'node:path';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { openDatabase, type Database } from '@berth/database';
import { connect, type Base, type ClientOf, type Logger } from '@berth/service-kit';
import { readSyncConfig } from './config';
import { openChunkStore, type ChunkStore } from './store/chunk-store';
import { schema } from './store/schema';

export interface Context extends AsyncDisposable {
  db: Database;
  chunks: ChunkStore;
  workspaces: ClientOf<typeof WorkspaceServiceService>;
  log: Logger;
}

export async function createContext({ config, env, log, tokens }: Base): Promise<Context> {
  const { postgresUrl, workspaceAddress } = readSyncConfig(env);
  const chunks = await openChunkStore(join(config.dataDir, 'sync'));
  const db = await openDatabase({
    ...schema,
    url: postgresUrl,
    onError: (err) => log.warn({ err }, 'a database connection was lost'),
  });
  const workspaces = connect(WorkspaceServiceService, workspaceAddress, tokens);
  return {
    db,
    chunks,
    workspaces,
    log,
    async [Symbol.asyncDispose]() {
      workspaces.close();
      await db[Symbol.asyncDispose]();
    },
  };
}
