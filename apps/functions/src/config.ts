import { z } from 'zod';
import { addressOf, numberVariable, readConfig } from '@berth/service-kit';

export interface Config {
  postgresUrl: string;
  natsUrl: string;
  workspaceAddress: string;
  syncAddress: string;
  schedulerAddress: string;
  /** How long the client of an ephemeral app may be silent before the app is stopped. */
  ephemeralSilenceSeconds: number;
}

export function readFunctionsConfig(env: NodeJS.ProcessEnv): Config {
  const values = readConfig(
    z.object({
      BERTH_FUNCTIONS_POSTGRES_URL: z.url('must be postgres://user:password@host:port/database'),
      BERTH_NATS_URL: z.url('must be nats://user:password@host:port'),
      BERTH_EPHEMERAL_SILENCE_SECONDS: numberVariable(60, 1, 86_400),
    }),
    env,
  );
  return {
    postgresUrl: values.BERTH_FUNCTIONS_POSTGRES_URL,
    natsUrl: values.BERTH_NATS_URL,
    workspaceAddress: addressOf('workspace', env),
    syncAddress: addressOf('sync', env),
    schedulerAddress: addressOf('scheduler', env),
    ephemeralSilenceSeconds: values.BERTH_EPHEMERAL_SILENCE_SECONDS,
  };
}
