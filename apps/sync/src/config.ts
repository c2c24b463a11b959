import { z } from 'zod';
import { addressOf, readConfig } from '@berth/service-kit';

export interface Config {
  postgresUrl: string;
  workspaceAddress: string;
}

export function readSyncConfig(env: NodeJS.ProcessEnv): Config {
  const values = readConfig(
    z.object({ BERTH_SYNC_POSTGRES_URL: z.url('must be postgres://user:password@host:port/database') }),
    env,
  );
  return {
    postgresUrl: values.BERTH_SYNC_POSTGRES_URL,
    workspaceAddress: addressOf('workspace', env),
  };
}
