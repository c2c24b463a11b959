import { z } from 'zod';
import { addressOf, readConfig } from '@berth/service-kit';

export interface Config {
  postgresUrl: string;
  natsUrl: string;
  workspaceAddress: string;
  schedulerAddress: string;
}

export function readIdentityConfig(env: NodeJS.ProcessEnv): Config {
  const values = readConfig(
    z.object({
      BERTH_IDENTITY_POSTGRES_URL: z.url('must be postgres://user:password@host:port/database'),
      BERTH_NATS_URL: z.url('must be nats://user:password@host:port'),
    }),
    env,
  );
  return {
    postgresUrl: values.BERTH_IDENTITY_POSTGRES_URL,
    natsUrl: values.BERTH_NATS_URL,
    workspaceAddress: addressOf('workspace', env),
    schedulerAddress: addressOf('scheduler', env),
  };
}
