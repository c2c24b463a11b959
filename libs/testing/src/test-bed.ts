/**
 * A platform of one's own for one test file: a database, a NATS, keys and a folder, dropped on close. Services are
 * the real modules, started on Unix sockets and spoken to over gRPC.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate, newId, openDatabase, type Database } from '@berth/database';
import { openBus, type Bus } from '@berth/events';
import {
  connect,
  openTokens,
  type CallContext,
  type ClientOf,
  type RunningService,
  type ServiceModule,
  type ServiceShape,
  type UserPrincipal,
} from '@berth/service-kit';
import { asSuperuser, startTestNats, type TestNats } from './servers';

/** All that may sign tokens or be dialled. */
const SERVICES = [
  'gateway',
  'identity',
  'workspace',
  'functions',
  'scheduler',
  'runner',
  'billing',
  'sync',
  'berth',
];

export interface TestBed {
  /** What every service of this bed is started with. */
  env: NodeJS.ProcessEnv;
  dataDir: string;
  nats: TestNats;
  bus: Bus;
  /** Migrates the module's schema, starts it, and stops it when the bed closes. */
  start(module: ServiceModule, env?: NodeJS.ProcessEnv): Promise<RunningService>;
  /** The database of a service, as that service sees it. */
  database(module: ServiceModule): Promise<Database>;
  /** A client of `service` that speaks in the name of another service. */
  connect<S extends ServiceShape>(definition: S, service: string, as: string): ClientOf<S>;
  /** What a handler gets when this user asks; give it to a client as `for`. */
  caller(principal?: Partial<UserPrincipal>): Promise<CallContext>;
  close(): Promise<void>;
}

export async function testBed(): Promise<TestBed> {
  const superuserUrl = process.env.BERTH_TEST_POSTGRES_URL;
  if (!superuserUrl)
    throw new Error('No test Postgres: run tests through jest, whose global setup starts it.');

  const dataDir = mkdtempSync(join(tmpdir(), 'berth-bed-'));
  const name = `bed_${randomBytes(6).toString('hex')}`;
  const nats = await startTestNats();
  const keysDir = join(dataDir, 'keys');
  writeTestKeys(keysDir, SERVICES);
  await asSuperuser(superuserUrl, `CREATE DATABASE ${name}`);

  const databaseUrl = new URL(superuserUrl);
  databaseUrl.pathname = `/${name}`;
  const env: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    BERTH_DATA_DIR: dataDir,
    BERTH_KEYS_DIR: keysDir,
    BERTH_NATS_URL: nats.url,
    BERTH_LOG_LEVEL: process.env.BERTH_LOG_LEVEL ?? 'error',
  };
  for (const service of SERVICES) {
    const upper = service.toUpperCase();
    env[`BERTH_${upper}_ADDRESS`] = `unix:${join(dataDir, `${service}.sock`)}`;
    const url = new URL(databaseUrl);
    url.username = `${name}_${service}`;
    url.password = 'test';
    env[`BERTH_${upper}_POSTGRES_URL`] = url.href;
  }

  const prepared = new Set<string>();
  const prepare = async ({ name: service, database }: ServiceModule) => {
    if (!database || prepared.has(service)) return;
    prepared.add(service);
    await asSuperuser(
      databaseUrl.href,
      `CREATE ROLE ${name}_${service} LOGIN PASSWORD 'test'`,
      `CREATE SCHEMA ${database.schema} AUTHORIZATION ${name}_${service}`,
    );
    await migrate({ ...database, url: env[`BERTH_${service.toUpperCase()}_POSTGRES_URL`]! });
  };

  const bus = await openBus(nats.url, 'test').catch(async (error: unknown) => {
    await nats.stop(); // A bed that was never handed out is never closed.
    throw error;
  });
  const closing: (() => Promise<unknown>)[] = [];
  const identityTokens = openTokens('identity', keysDir);

  return {
    env,
    dataDir,
    nats,
    bus,
    async start(module, overrides = {}) {
      await prepare(module);
      const running = await module.start({ ...env, ...overrides });
      closing.push(async () => running[Symbol.asyncDispose]());
      return running;
    },
    async database(module) {
      await prepare(module);
      if (!module.database) throw new Error(`${module.name} has no store`);
      const db = await openDatabase({
        ...module.database,
        url: env[`BERTH_${module.name.toUpperCase()}_POSTGRES_URL`]!,
      });
      closing.push(async () => db[Symbol.asyncDispose]());
      return db;
    },
    connect(definition, service, as) {
      const client = connect(
        definition,
        env[`BERTH_${service.toUpperCase()}_ADDRESS`]!,
        openTokens(as, keysDir),
      );
      closing.push(async () => client.close());
      return client;
    },
    async caller(principal = {}) {
      const user: UserPrincipal = {
        kind: 'user',
        credentialKind: 'api_token',
        credentialId: newId('ak'),
        organizationId: newId('or'),
        workspaceId: newId('wo'),
        userId: newId('us'),
        role: 'owner',
        scope: 'workspace',
        ...principal,
      };
      return {
        principal: user,
        token: await identityTokens.sign(user),
        requestId: 'test',
        idempotencyKey: undefined,
        signal: new AbortController().signal,
        deadline: undefined,
        traceparent: undefined,
      };
    },
    async close() {
      for (const close of closing.reverse()) await close();
      await bus[Symbol.asyncDispose]();
      await nats.stop();
      await asSuperuser(superuserUrl, `DROP DATABASE ${name} WITH (FORCE)`);
      for (const service of prepared) await asSuperuser(superuserUrl, `DROP ROLE ${name}_${service}`);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A key for each service, and everyone's public keys: as `berth up` lays them out. */
export function writeTestKeys(folder: string, services: string[]): void {
  mkdirSync(folder, { recursive: true });
  const keys = services.map((service) => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(join(folder, `${service}.key`), privateKey.export({ type: 'pkcs8', format: 'pem' }), {
      mode: 0o600,
    });
    return { ...publicKey.export({ format: 'jwk' }), kid: service, alg: 'EdDSA', use: 'sig' };
  });
  writeFileSync(join(folder, 'public.json'), JSON.stringify({ keys }));
  const sealing = { current: 'k1', keys: { k1: randomBytes(32).toString('base64url') } };
  writeFileSync(join(folder, 'workspace-sealing.json'), JSON.stringify(sealing), { mode: 0o600 });
}

/** What counts as "not yet". */
type Falsy = false | 0 | '' | null | undefined;

/** Resolves when `check` gives something truthy; fails with what it last saw after `withinMs`. */
export async function eventually<T>(
  check: () => T | Falsy | Promise<T | Falsy>,
  withinMs = 30_000,
): Promise<Exclude<T, Falsy>> {
  const until = Date.now() + withinMs;
  let last: unknown;
  for (;;) {
    try {
      const seen = await check();
      if (seen) return seen as Exclude<T, Falsy>;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`not within ${withinMs} ms; last seen: ${String(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
