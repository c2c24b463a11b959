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
  /** How long nothing in a container that has inputs can run before it is replaced. */
  frozenSeconds: number;
  /** Of the disk, which volumes leave free. */
  diskReserveGib: number;
  builds: {
    /** A file with the certificates that downloads are checked against. */
    certificatesFile: string | undefined;
    pipIndexUrl: string | undefined;
    npmRegistryUrl: string | undefined;
    /** By name, as commands read them. */
    proxies: Record<string, string>;
    /** Of one build; undefined: as much as a node of this size can spare. */
    memoryMib: number | undefined;
    cpus: number | undefined;
    /** What images that are not in use may take together. */
    keptGib: number;
  };
}

/** Anybody who uses the image can read it there. */
const openUrl = z
  .url('must be https://host/path')
  .refine((text) => !new URL(text).password, 'must not have a password: it would stay in images')
  .optional();

const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'] as const;

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
      BERTH_FROZEN_SECONDS: z.coerce.number('must be a number of seconds').min(1).default(15),
      BERTH_DISK_RESERVE_GIB: z.coerce.number('must be a number of GiB').min(0).default(1),
      BERTH_BUILD_CA_FILE: z.string().optional(),
      NODE_EXTRA_CA_CERTS: z.string().optional(),
      BERTH_BUILD_PIP_INDEX_URL: openUrl,
      BERTH_BUILD_NPM_REGISTRY_URL: openUrl,
      BERTH_BUILD_MEMORY_MIB: z.coerce.number('must be a number of MiB').int().min(64).optional(),
      BERTH_BUILD_CPUS: z.coerce.number('must be a number of cores').min(0.1).max(4096).optional(),
      BERTH_IMAGES_GIB: z.coerce.number('must be a number of GiB').min(0).default(50),
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
    frozenSeconds: values.BERTH_FROZEN_SECONDS,
    diskReserveGib: values.BERTH_DISK_RESERVE_GIB,
    builds: {
      // What this process itself needs to reach anything, builds need, too.
      certificatesFile: values.BERTH_BUILD_CA_FILE || values.NODE_EXTRA_CA_CERTS || undefined,
      pipIndexUrl: values.BERTH_BUILD_PIP_INDEX_URL,
      npmRegistryUrl: values.BERTH_BUILD_NPM_REGISTRY_URL,
      proxies: Object.fromEntries(PROXIES.flatMap((name) => (env[name] ? [[name, env[name]]] : []))),
      memoryMib: values.BERTH_BUILD_MEMORY_MIB,
      cpus: values.BERTH_BUILD_CPUS,
      keptGib: values.BERTH_IMAGES_GIB,
    },
  };
}
