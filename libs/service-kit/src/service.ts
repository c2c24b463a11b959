import { writeSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import { readServiceConfig, type ServiceConfig } from './config';
import { allowLocalCalls } from './local-calls';
import { createLogger, type Logger } from './log';
import { openOpsPort } from './ops';
import { serveGrpc, type GrpcServer, type ServedService } from './server';
import { startTelemetry } from './telemetry';
import { openTokens, type Tokens } from './tokens';

/** A service that is up. Disposing it stops its loops, then its server, then its pools. */
export interface RunningService extends AsyncDisposable {
  name: string;
  /** Its gRPC address. */
  address: string;
}

/** A service's own corner of Postgres: what `berth migrate` and the tests need to know of it. */
export interface ServiceSchema {
  /** Named for the service. */
  schema: string;
  entities: (new () => object)[];
  migrations: (new () => { up(runner: never): Promise<unknown>; down(runner: never): Promise<unknown> })[];
}

export interface ServiceModule {
  name: string;
  /** Undefined for a service without a store. */
  database?: ServiceSchema;
  start(env: NodeJS.ProcessEnv): Promise<RunningService>;
}

/** What service-kit gives a service to build its context with. */
export interface Base {
  config: ServiceConfig;
  log: Logger;
  tokens: Tokens;
  env: NodeJS.ProcessEnv;
}

/** What a service gives back: its contracts, and how it begins and ends. */
export interface Built extends AsyncDisposable {
  services: ((gate: { service: string; tokens: Tokens; log: Logger }) => ServedService)[];
  /** Starts loops and consumers, once the server listens and before it says SERVING. */
  begin?(): Promise<void>;
  /** Ends long waits, so that the server can drain: called before the server stops. */
  drain?(): Promise<void>;
}

/** Milliseconds that calls in flight get when a service stops. */
const STOP_GRACE_MS = 3000;

/** A service out of a function that builds its context. */
export function defineService(
  name: string,
  build: (base: Base) => Promise<Built>,
  database?: ServiceSchema,
): ServiceModule {
  return {
    name,
    ...(database ? { database } : {}),
    async start(env) {
      const config = readServiceConfig(name, env);
      const log = createLogger(name, config.logLevel);
      const tokens = openTokens(name, config.keysDir);
      const built = await build({ config, log, tokens, env });
      let server: GrpcServer | undefined;
      try {
        server = await serveGrpc(config.listen, { service: name, tokens, log }, built.services);
        await built.begin?.();
      } catch (error) {
        await built[Symbol.asyncDispose]();
        await server?.stop(0);
        throw error;
      }
      server.setServing(true);
      log.info({ address: server.address }, 'serving');

      const serving = server;
      let stopped: Promise<void> | undefined;
      const stop = async () => {
        serving.setServing(false);
        await built.drain?.();
        await serving.stop(STOP_GRACE_MS);
        await built[Symbol.asyncDispose]();
        log.info('stopped');
      };
      return { name, address: serving.address, [Symbol.asyncDispose]: () => (stopped ??= stop()) };
    },
  };
}

/**
 * Runs services in this process until SIGTERM or SIGINT, or until the process that started it is gone (its end of
 * `BERTH_PARENT_FD` closes). Says `ready` on `BERTH_READY_FD`. Exits with 1 and the reason when one cannot start.
 */
export async function runMain(...modules: ServiceModule[]): Promise<void> {
  const env = process.env;
  const log = createLogger(
    modules.length === 1 ? modules[0]!.name : 'services',
    env.BERTH_LOG_LEVEL ?? 'info',
  );
  process.on('unhandledRejection', (reason) => {
    log.fatal({ err: reason }, 'a promise was rejected and nobody heard: stopping');
    process.exit(1);
  });
  if (modules.length > 1) allowLocalCalls();
  const stopTelemetry = startTelemetry(modules.length === 1 ? modules[0]!.name : 'berth', env);
  const running: RunningService[] = [];
  let ready = false;
  let ops: HttpServer | undefined;
  let stopping = false;

  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    ready = false;
    log.info({ why }, 'stopping');
    // The last that started is the first that stops: whoever depends on a peer goes before it.
    for (const service of running.reverse()) await service[Symbol.asyncDispose]();
    ops?.close();
    await stopTelemetry();
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop('SIGTERM'));
  process.on('SIGINT', () => void stop('SIGINT'));
  if (env.BERTH_PARENT_FD)
    void watchParent(Number(env.BERTH_PARENT_FD), () => void stop('the supervisor is gone'));

  try {
    if (env.BERTH_OPS_LISTEN) ops = await openOpsPort(env.BERTH_OPS_LISTEN, () => ready);
    for (const module of modules) running.push(await module.start(env));
  } catch (error) {
    log.fatal({ err: error }, 'could not start');
    process.exit(1);
  }
  ready = true;
  const bound = ops?.address();
  const opsPort = typeof bound === 'object' && bound ? bound.port : undefined;
  if (env.BERTH_READY_FD) writeSync(Number(env.BERTH_READY_FD), `ready ${JSON.stringify({ opsPort })}\n`);
}

async function watchParent(fd: number, gone: () => void): Promise<void> {
  const { Socket } = await import('node:net');
  const pipe = new Socket({ fd, readable: true, writable: false });
  pipe.on('error', gone).on('close', gone).resume();
  pipe.unref();
}
