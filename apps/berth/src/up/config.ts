import { Refusal } from './refusal';

export type Engine = 'auto' | 'docker' | 'process';

/** What `berth up` is told by its environment. */
export interface UpConfig {
  dataDir: string;
  host: string;
  httpPort: number;
  grpcPort: number;
  engine: Engine;
  /** A server that exists, in place of our own. */
  postgresUrl: string | undefined;
  natsUrl: string | undefined;
  dockerHost: string | undefined;
}

const ENGINES: readonly string[] = ['auto', 'docker', 'process'];

/** Reads the environment; `Refusal` lists every problem at once, without the values: URLs hold passwords. */
export function readUpConfig(env: NodeJS.ProcessEnv): UpConfig {
  const problems: string[] = [];
  const port = (name: string, fallback: number) => {
    const value = env[name] || String(fallback);
    if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535)
      problems.push(`${name} must be a port from 0 to 65535 (0: a free one)`);
    return Number(value);
  };
  const url = (name: string, ...protocols: string[]) => {
    const value = env[name];
    if (!value) return undefined;
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol))
      problems.push(`${name} must be a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`);
    return value;
  };
  const engine = env.BERTH_ENGINE || 'auto';
  if (!ENGINES.includes(engine)) problems.push(`BERTH_ENGINE must be one of ${ENGINES.join(', ')}`);
  const config: UpConfig = {
    dataDir: env.BERTH_DATA_DIR || '.berth',
    host: env.BERTH_HOST || '127.0.0.1',
    httpPort: port('BERTH_HTTP_PORT', 4600),
    grpcPort: port('BERTH_GRPC_PORT', 4601),
    engine: engine as Engine,
    postgresUrl: url('BERTH_POSTGRES_URL', 'postgres:', 'postgresql:'),
    natsUrl: url('BERTH_NATS_URL', 'nats:', 'tls:'),
    dockerHost: url('DOCKER_HOST', 'unix:', 'tcp:', 'http:', 'https:'),
  };
  if (config.httpPort !== 0 && config.httpPort === config.grpcPort)
    problems.push('BERTH_HTTP_PORT and BERTH_GRPC_PORT must differ');
  if (problems.length > 0) throw new Refusal(`The environment has problems:\n  ${problems.join('\n  ')}`);
  return config;
}
