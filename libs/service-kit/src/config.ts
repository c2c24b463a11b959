import { join } from 'node:path';
import { z } from 'zod';

/**
 * Reads `env` by `schema` and throws one error that lists every problem, each with its variable. Values are never
 * repeated: they may be secrets.
 */
export function readConfig<S extends z.ZodType>(schema: S, env: NodeJS.ProcessEnv): z.output<S> {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`The configuration has ${problems.length} problem(s):\n${problems.join('\n')}`);
}

const address = z.string().regex(/^(unix:\/.+|[^/\s]+:\d{1,5})$/, 'must be unix:/path or host:port');

/** A peer's address: `unix:/path` or `host:port`. */
export const addressVariable = (): typeof address => address;

/** A whole number in a range, with a default. */
export const numberVariable = (fallback: number, min: number, max: number) =>
  z.coerce.number('must be a number').int('must be a whole number').min(min).max(max).default(fallback);

/** What every service needs, whatever it does. See docs/guides/architecture.md. */
export interface ServiceConfig {
  service: string;
  listen: string;
  keysDir: string;
  opsListen: string | undefined;
  logLevel: string;
  dataDir: string;
}

/** The part of the environment that all services share, under this service's name. */
export function readServiceConfig(service: string, env: NodeJS.ProcessEnv): ServiceConfig {
  const upper = service.toUpperCase();
  const values = readConfig(
    z.object({
      [`BERTH_${upper}_ADDRESS`]: address.optional(),
      [`BERTH_${upper}_LISTEN`]: address.optional(),
      BERTH_KEYS_DIR: z.string('must name the folder with the keys').min(1),
      BERTH_OPS_LISTEN: address.optional(),
      BERTH_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
      BERTH_DATA_DIR: z.string().default('.berth'),
    }),
    env,
  ) as Record<string, string | undefined>;
  const listen = values[`BERTH_${upper}_LISTEN`] ?? values[`BERTH_${upper}_ADDRESS`];
  if (!listen) throw new Error(`The configuration lacks BERTH_${upper}_ADDRESS (unix:/path or host:port).`);
  return {
    service,
    listen,
    keysDir: values.BERTH_KEYS_DIR!,
    opsListen: values.BERTH_OPS_LISTEN,
    logLevel: values.BERTH_LOG_LEVEL!,
    dataDir: join(values.BERTH_DATA_DIR!),
  };
}

/** Where `service` is dialled. Throws when the environment does not say. */
export function addressOf(service: string, env: NodeJS.ProcessEnv): string {
  const name = `BERTH_${service.toUpperCase()}_ADDRESS`;
  return readConfig(z.object({ [name]: address }), env)[name] as string;
}
