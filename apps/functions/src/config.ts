import type { BlockList } from 'node:net';
import { z } from 'zod';
import { addressOf, numberVariable, readConfig } from '@berth/service-kit';
import type { WebAddress } from './domain/web';
import { readNetworks } from './domain/networks';

export interface Config {
  postgresUrl: string;
  natsUrl: string;
  workspaceAddress: string;
  syncAddress: string;
  schedulerAddress: string;
  /** How long the client of an ephemeral app may be silent before the app is stopped. */
  ephemeralSilenceSeconds: number;
  /** Of one workspace, at a time. */
  shellsMax: number;
  web: WebAddress;
  /** Networks that webhooks may reach though they are not of the internet. */
  webhookNetworks: BlockList;
}

export function readFunctionsConfig(env: NodeJS.ProcessEnv): Config {
  const values = readConfig(
    z.object({
      BERTH_FUNCTIONS_POSTGRES_URL: z.url('must be postgres://user:password@host:port/database'),
      BERTH_NATS_URL: z.url('must be nats://user:password@host:port'),
      BERTH_EPHEMERAL_SILENCE_SECONDS: numberVariable(60, 1, 86_400),
      BERTH_SHELLS_MAX: numberVariable(10, 1, 10_000),
      BERTH_PUBLIC_URL: z
        .url({ protocol: /^https?$/, error: 'must be http://host:port or https://host' })
        .optional(),
      BERTH_WEB_DOMAIN: z.hostname('must be a host name, such as run.example.com').optional(),
      BERTH_HOST: z.string().min(1).default('127.0.0.1'),
      BERTH_HTTP_PORT: numberVariable(4600, 0, 65535),
      BERTH_WEBHOOK_NETWORKS: z
        .string()
        .default('')
        .transform((text, context) => {
          const networks = readNetworks(text);
          if (networks) return networks;
          context.addIssue('must be networks such as 10.0.0.0/8,fd00::/8');
          return z.NEVER;
        }),
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
    shellsMax: values.BERTH_SHELLS_MAX,
    web: {
      publicUrl: new URL(values.BERTH_PUBLIC_URL ?? `http://${values.BERTH_HOST}:${values.BERTH_HTTP_PORT}`)
        .origin,
      domain: values.BERTH_WEB_DOMAIN?.toLowerCase(),
    },
    webhookNetworks: values.BERTH_WEBHOOK_NETWORKS,
  };
}
