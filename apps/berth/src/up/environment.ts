import { join } from 'node:path';
import type { DataFolder } from './data-folder';

/** Every service, in the order in which they stop: whoever depends on a peer goes before it. */
export const SERVICES = [
  'gateway',
  'runner',
  'functions',
  'scheduler',
  'workspace',
  'billing',
  'sync',
  'identity',
] as const;

/** Who has a key: the services, and `berth` itself, which makes the first organization. */
export const SIGNERS: readonly string[] = [...SERVICES, 'berth'];

export type ServiceName = (typeof SERVICES)[number];

/** What the platform's own parts turned out to be. */
export interface Platform {
  folder: DataFolder;
  host: string;
  httpPort: number;
  grpcPort: number;
  natsUrl: string;
  /** Of each service's own role. */
  postgresUrls: Record<string, string>;
  engine: 'docker' | 'process';
  dockerHost: string | undefined;
}

/** `url` with another user, password and database. */
export function postgresUrlFor(url: string, user: string, password: string, database: string): string {
  const changed = new URL(url);
  changed.username = user;
  changed.password = password;
  changed.pathname = `/${database}`;
  return changed.href;
}

/** What all services share: docs/guides/architecture.md says what each variable means. */
function sharedEnvironment(platform: Platform, inherited: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { folder } = platform;
  const kept = Object.entries(inherited).filter(
    // npm's own variables, the superuser's URL, and where somebody else's services are.
    ([name]) => !/^npm_|^BERTH_POSTGRES_URL$|^BERTH_[A-Z]+_(ADDRESS|LISTEN|POSTGRES_URL)$/i.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    NODE_ENV: 'production',
    BERTH_DATA_DIR: folder.root,
    BERTH_KEYS_DIR: folder.keys,
    BERTH_NATS_URL: platform.natsUrl,
    BERTH_HOST: platform.host,
    BERTH_HTTP_PORT: String(platform.httpPort),
    BERTH_GRPC_PORT: String(platform.grpcPort),
    BERTH_GATEWAY_URL: `http://${platform.host.includes(':') ? `[${platform.host}]` : platform.host}:${platform.httpPort}`,
    BERTH_ENGINE: platform.engine,
    ...(platform.dockerHost ? { DOCKER_HOST: platform.dockerHost } : {}),
    ...Object.fromEntries(
      SERVICES.map((service) => [
        `BERTH_${service.toUpperCase()}_ADDRESS`,
        `unix:${join(folder.sockets, `${service}.sock`)}`,
      ]),
    ),
  };
}

/**
 * The environment of a process that runs `services`: only their own Postgres roles are in it.
 * `opsPort` 0 lets the process pick one.
 */
export function serviceEnvironment(
  platform: Platform,
  services: readonly string[],
  opsPort: number,
  inherited: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  return {
    ...sharedEnvironment(platform, inherited),
    BERTH_OPS_LISTEN: `127.0.0.1:${opsPort}`,
    ...Object.fromEntries(
      services.flatMap((service) => {
        const url = platform.postgresUrls[service];
        return url ? [[`BERTH_${service.toUpperCase()}_POSTGRES_URL`, url]] : [];
      }),
    ),
  };
}
