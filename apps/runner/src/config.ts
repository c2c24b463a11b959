import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { addressOf, readConfig } from '@berth/service-kit';
import { parseSimulatedGpus } from './domain/gpu';

export interface Config {
  /** All that this runner keeps. */
  folder: string;
  engine: 'auto' | 'docker' | 'process';
  dockerHost: string | undefined;
  /** Where the process engine and `nvidia-smi` are looked for. */
  path: string;
  natsUrl: string;
  functionsAddress: string;
  schedulerAddress: string;
  syncAddress: string;
  workspaceAddress: string;
  identityAddress: string;
  /** The gateway's REST door, for what containers ask. */
  gatewayUrl: string;
  nodeName: string;
  /** What the node offers; undefined: all that the engine describes. */
  cpus: number | undefined;
  memoryMib: number | undefined;
  /** Models of cards that are not there and stand in for ones that are. */
  simulatedGpus: string[];
}

export function readRunnerConfig(env: NodeJS.ProcessEnv, dataDir: string): Config {
  const values = readConfig(
    z.object({
      BERTH_ENGINE: z.enum(['auto', 'docker', 'process']).default('auto'),
      DOCKER_HOST: z.string().default(''),
      PATH: z.string().default(''),
      BERTH_NATS_URL: z.string('must be nats://user:password@host:port').min(1),
      BERTH_GATEWAY_URL: z.url('must be http://host:port').default('http://127.0.0.1:4600'),
      BERTH_NODE_NAME: z.string().min(1).max(255).default(hostname()),
      BERTH_NODE_CPUS: z.coerce.number('must be a number of cores').min(0.1).max(4096).optional(),
      BERTH_NODE_MEMORY_MIB: z.coerce.number('must be a number of MiB').int().min(64).optional(),
      BERTH_SIMULATED_GPUS: z
        .string()
        .default('')
        .transform((text, context) => {
          const models = parseSimulatedGpus(text);
          if (models) return models;
          context.addIssue({ code: 'custom', message: 'must be models with counts, such as H100:2,A10:1' });
          return z.NEVER;
        }),
    }),
    env,
  );
  return {
    folder: join(dataDir, 'runner'),
    engine: values.BERTH_ENGINE,
    dockerHost: values.DOCKER_HOST || undefined,
    path: values.PATH,
    natsUrl: values.BERTH_NATS_URL,
    functionsAddress: addressOf('functions', env),
    schedulerAddress: addressOf('scheduler', env),
    syncAddress: addressOf('sync', env),
    workspaceAddress: addressOf('workspace', env),
    identityAddress: addressOf('identity', env),
    gatewayUrl: values.BERTH_GATEWAY_URL,
    nodeName: values.BERTH_NODE_NAME,
    cpus: values.BERTH_NODE_CPUS,
    memoryMib: values.BERTH_NODE_MEMORY_MIB,
    simulatedGpus: values.BERTH_SIMULATED_GPUS,
  };
}
