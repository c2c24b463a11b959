import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readUpConfig, type UpConfig } from './config';
import { createDataFolder, dataFolder, seedOf, type DataFolder } from './data-folder';
import { dockerAnswers, usualDockerHost } from './docker-answers';
import { canRunDockerd, cleanUpAfterDockerd, ownDockerd } from './dockerd';
import { postgresUrlFor, serviceEnvironment, SERVICES, SIGNERS, type Platform } from './environment';
import { ensureKeys } from './keys';
import { takeLock } from './lock';
import { natsAnswers, ownNats } from './nats';
import { orphansOf, stopOrphan } from './orphans';
import { choosePorts, isFree } from './ports';
import { ownPostgres } from './postgres';
import { identify, isAlive } from './process-identity';
import { Refusal } from './refusal';
import { readState, writeState, type PlatformState } from './state';
import { runStep, type StepSpec } from './step-process';
import { Supervisor, type ChildSpec } from './supervisor';

/** A process that runs one service or several, and speaks the protocol of `ChildSpec.ready: 'line'`. */
export interface ServiceProcess {
  name: string;
  services: readonly string[];
  /** For Node: the program and its arguments. */
  args: string[];
}

/** What a platform is made of, beside Postgres, NATS and the engine. */
export interface Parts {
  /** In the order in which they stop; all start at once. */
  processes: ServiceProcess[];
  before: StepSpec[];
  /** Beside `before`, where containers come from a Docker Engine: makes the images that they need. */
  images: StepSpec[];
  after: StepSpec[];
}

export interface UpOptions {
  env: NodeJS.ProcessEnv;
  parts: Parts;
  /** Prints one line of progress. */
  say: (line: string) => void;
}

export interface RunningPlatform {
  folder: DataFolder;
  state: () => PlatformState;
  /** Stops everything that was started, in order. Safe to repeat; `force` ends what is left at once. */
  stop: (force?: boolean) => Promise<void>;
}

const READY_WITHIN_MS = 90_000;
const SERVICE_GRACE_MS = 20_000;
const DATABASE = 'berth';

/** `  postgres               ready on 127.0.0.1:20001 (0.4 s)` */
const progressLine = (what: string, outcome: string, started?: number): string => {
  const took = started === undefined ? '' : ` (${((performance.now() - started) / 1000).toFixed(1)} s)`;
  return `  ${what.padEnd(22)} ${outcome}${took}`;
};

/** Takes the data folder for this process. Errors: `Refusal` when another platform lives in it. */
function claim(folder: DataFolder): () => void {
  const lock = takeLock(folder.lock);
  if ('release' in lock) return lock.release;
  throw new Refusal(
    `Berth already runs in ${folder.root} (pid ${lock.heldBy.pid}).\n` +
      'npm run status says how it does, npm stop stops it; BERTH_DATA_DIR and BERTH_HTTP_PORT make room for another.',
  );
}

async function requireFreePort(config: UpConfig, variable: string, port: number): Promise<void> {
  if (port === 0 || (await isFree(port, config.host))) return;
  throw new Refusal(`Port ${port} on ${config.host} is taken: set ${variable} to another one (0: any).`);
}

/** One run of a platform, from the lock to the last stop. */
class Up {
  private readonly supervisor = new Supervisor(() => this.save());
  private readonly steps = new Set<ChildProcess>();
  private readonly stopOrder: string[];
  private phase: PlatformState['phase'] = 'starting';
  private since = new Date().toISOString();
  private places: Record<string, string> = {};
  private warnings: string[] = [];
  private failure: string | undefined;
  private unsaved: unknown;
  private stopping: Promise<void> | undefined;

  constructor(
    private readonly options: UpOptions,
    private readonly config: UpConfig,
    readonly folder: DataFolder,
    private readonly release: () => void,
  ) {
    this.stopOrder = [...options.parts.processes.map(({ name }) => name), 'nats', 'postgres', 'dockerd'];
  }

  get state(): PlatformState {
    const me = identify(process.pid);
    if (!me) throw new Error('this process cannot see itself in the process table');
    const order = (name: string) => this.stopOrder.indexOf(name);
    return {
      supervisor: me,
      phase: this.phase,
      since: this.since,
      places: this.places,
      warnings: this.warnings,
      failure: this.failure,
      children: this.supervisor.records.sort((a, b) => order(a.name) - order(b.name)),
    };
  }

  /** What `berth status` reads. A disk that is full is no reason to stop watching. */
  private save(): void {
    try {
      writeState(this.folder.state, this.state);
      this.unsaved = undefined;
    } catch (error) {
      if (!this.unsaved)
        this.options.say(`  WARNING: the state could not be written: ${(error as Error).message}`);
      this.unsaved = error;
    }
  }

  private enter(phase: PlatformState['phase']): void {
    this.phase = phase;
    this.since = new Date().toISOString();
    this.save();
  }

  private say(what: string, outcome: string, started?: number): void {
    this.options.say(progressLine(what, outcome, started));
  }

  private warn(text: string): void {
    this.warnings.push(text);
    this.options.say(`  WARNING: ${text}`);
  }

  async start(): Promise<void> {
    await this.stopOrphans();
    this.save();
    const { config, folder } = this;
    await requireFreePort(config, 'BERTH_HTTP_PORT', config.httpPort);
    await requireFreePort(config, 'BERTH_GRPC_PORT', config.grpcPort);
    const [postgresPort, natsPort, opsPort, httpPort, grpcPort] = (await choosePorts(seedOf(folder), 5)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const passwords = ensureKeys(folder.keys, SIGNERS);
    const [postgresUrl, natsUrl, engine] = await allOrFirstFailure([
      config.postgresUrl ?? this.startPostgres(postgresPort, passwords.postgres),
      config.natsUrl ? this.useNats(config.natsUrl) : this.startNats(natsPort, passwords.nats),
      this.findEngine(),
    ]);
    const database = config.postgresUrl
      ? new URL(config.postgresUrl).pathname.slice(1) || DATABASE
      : DATABASE;
    const platform: Platform = {
      folder,
      host: config.host,
      httpPort: config.httpPort || httpPort,
      grpcPort: config.grpcPort || grpcPort,
      natsUrl,
      postgresUrls: Object.fromEntries(
        SERVICES.map((service) => [
          service,
          postgresUrlFor(postgresUrl, `${database}_${service}`, passwords.services[service]!, database),
        ]),
      ),
      ...engine,
    };
    this.notePlaces(platform, opsPort);

    const { parts } = this.options;
    const shared = {
      ...serviceEnvironment(platform, SERVICES, 0, this.options.env),
      BERTH_POSTGRES_URL: postgresUrl,
      BERTH_API_URL: `http://${config.host}:${platform.httpPort}`,
      BERTH_GRPC_URL: `http://${config.host}:${platform.grpcPort}`,
    };
    await allOrFirstFailure([
      this.runSteps(parts.before, shared),
      this.runSteps(platform.engine === 'docker' ? parts.images : [], shared),
    ]);
    await allOrFirstFailure(
      parts.processes.map((process) =>
        this.startServices(process, platform, parts.processes.length === 1 ? opsPort : 0),
      ),
    );
    const first = !existsSync(folder.credentials);
    for (const spec of parts.after) {
      await this.step(spec, shared).catch((error: unknown) => {
        if (first || !spec.proves || this.stopping) throw error;
        this.warn(`${(error as Error).message}\n  The platform is up all the same.`);
      });
    }
    if (!this.stopping) this.enter('up');
  }

  /** A supervisor that was killed could not stop what it had started. */
  private async stopOrphans(): Promise<void> {
    const previous = readState(this.folder.state);
    const orphans = orphansOf(previous, ({ process }) => process !== undefined && isAlive(process));
    const started = performance.now();
    for (const orphan of orphans) await stopOrphan(orphan);
    this.cleanUpAfterDockerd();
    if (orphans.length > 0)
      this.say(
        'earlier run',
        `was killed; stopped its ${orphans.map(({ name }) => name).join(', ')}`,
        started,
      );
  }

  private async startPostgres(port: number, password: string): Promise<string> {
    const started = performance.now();
    const { spec, url, cluster } = await ownPostgres(this.folder, port, password);
    await this.supervisor.start(spec);
    const place = cluster === this.folder.postgres ? '' : `, files in ${cluster}`;
    this.say('postgres', `ready on 127.0.0.1:${port}${place}`, started);
    return url;
  }

  private async startNats(port: number, password: string): Promise<string> {
    const started = performance.now();
    const { spec, url } = ownNats(this.folder, port, password);
    await this.supervisor.start(spec);
    this.say('nats', `ready on 127.0.0.1:${port}`, started);
    return url;
  }

  private async useNats(url: string): Promise<string> {
    if (!(await natsAnswers(url)))
      throw new Refusal('No NATS server answers at BERTH_NATS_URL: check host and port.');
    this.say('nats', 'the server of BERTH_NATS_URL');
    return url;
  }

  private async findEngine(): Promise<Pick<Platform, 'engine' | 'dockerHost'>> {
    const { engine } = this.config;
    if (engine === 'process') return this.withoutEngine('BERTH_ENGINE is process');
    const host = usualDockerHost(this.config.dockerHost);
    if (await dockerAnswers(host)) {
      this.say('engine', `docker at ${host}`);
      return { engine: 'docker', dockerHost: host };
    }
    try {
      if (!canRunDockerd())
        throw new Refusal(`no Docker Engine answers at ${host}, and we cannot start one here`);
      return { engine: 'docker', dockerHost: await this.startDockerd() };
    } catch (error) {
      if (engine === 'docker' || this.stopping || !(error instanceof Refusal)) throw error;
      this.options.say(error.message);
      return this.withoutEngine('there is no Docker Engine');
    }
  }

  private withoutEngine(why: string): Pick<Platform, 'engine' | 'dockerHost'> {
    this.warn(
      `${why}: functions run as plain processes of this user, WITHOUT ISOLATION. Run only your own code.`,
    );
    return { engine: 'process', dockerHost: undefined };
  }

  private async startDockerd(): Promise<string> {
    const started = performance.now();
    const dockerd = ownDockerd(this.folder);
    try {
      await this.supervisor.start(dockerd.spec);
    } catch (error) {
      this.cleanUpAfterDockerd();
      throw error;
    }
    this.say('engine', `our own dockerd at ${dockerd.host}`, started);
    return dockerd.host;
  }

  /** Litter of ours on the machine's network is worth a warning, not a failure to stop. */
  private cleanUpAfterDockerd(): void {
    try {
      cleanUpAfterDockerd(this.folder);
    } catch (error) {
      this.warn(
        `what the engine did to this machine's network could not be undone: ${(error as Error).message}`,
      );
    }
  }

  private async startServices(process: ServiceProcess, platform: Platform, opsPort: number): Promise<void> {
    const started = performance.now();
    const spec: ChildSpec = {
      name: process.name,
      command: globalThis.process.execPath,
      args: process.args,
      env: serviceEnvironment(platform, process.services, opsPort, this.options.env),
      log: join(this.folder.logs, `${process.name}.log`),
      ready: 'line',
      readyWithinMs: READY_WITHIN_MS,
      stopSignal: 'SIGTERM',
      graceMs: SERVICE_GRACE_MS,
    };
    await this.supervisor.start(spec);
    this.say(
      process.name,
      process.services.length > 1 ? `ready: ${process.services.join(' ')}` : 'ready',
      started,
    );
  }

  private async runSteps(specs: readonly StepSpec[], env: NodeJS.ProcessEnv): Promise<void> {
    for (const spec of specs) await this.step(spec, env);
  }

  private async step(spec: StepSpec, env: NodeJS.ProcessEnv): Promise<void> {
    if (this.stopping) throw new Refusal(`${spec.name} is not run: the platform stops`);
    const started = performance.now();
    const log = join(this.folder.logs, `${spec.name}.log`);
    const { child, finished } = runStep(spec, env, log, (line) => this.options.say(`    ${line}`));
    this.steps.add(child);
    await finished.finally(() => this.steps.delete(child));
    this.say(spec.name, 'done', started);
  }

  private notePlaces(platform: Platform, opsPort: number): void {
    const { folder } = this;
    this.places = {
      API: `http://${platform.host}:${platform.httpPort}`,
      gRPC: `${platform.host}:${platform.grpcPort}`,
      ...(this.options.parts.processes.length === 1
        ? { metrics: `http://127.0.0.1:${opsPort}/metrics` }
        : {}),
      credentials: folder.credentials,
      data: folder.root,
      logs: folder.logs,
      engine: platform.engine === 'docker' ? `docker at ${platform.dockerHost}` : 'process (no isolation)',
    };
  }

  /** Stops what runs because the start failed for this reason. */
  async fail(reason: string): Promise<void> {
    const asked = this.stopping !== undefined;
    await this.stop();
    if (asked) return;
    this.failure = reason;
    this.enter('failed');
  }

  stop(force = false): Promise<void> {
    this.supervisor.close();
    for (const step of this.steps) step.kill(force ? 'SIGKILL' : 'SIGTERM');
    if (force) void this.supervisor.killAll();
    return (this.stopping ??= this.stopInOrder());
  }

  private async stopInOrder(): Promise<void> {
    this.enter('stopping');
    await this.supervisor.stop(this.stopOrder);
    this.cleanUpAfterDockerd();
    this.enter('stopped');
    this.release();
  }
}

/** As Promise.all, but a failure is told only when the others have settled: nothing starts behind its back. */
async function allOrFirstFailure<T extends readonly unknown[]>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(work);
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return settled.map((result) => (result as PromiseFulfilledResult<unknown>).value) as never;
}

/**
 * Brings a platform up in its data folder. `onStart` is given the handle as soon as there is something to stop, so
 * that a signal can end a start. Errors: `Refusal` with the reason, after everything was stopped again.
 */
export async function bringUp(
  options: UpOptions,
  onStart: (platform: RunningPlatform) => void = () => undefined,
): Promise<RunningPlatform> {
  const config = readUpConfig(options.env);
  const folder = dataFolder(config.dataDir, tmpdir());
  createDataFolder(folder);
  const up = new Up(options, config, folder, claim(folder));
  const platform: RunningPlatform = { folder, state: () => up.state, stop: (force) => up.stop(force) };
  onStart(platform);
  try {
    await up.start();
    return platform;
  } catch (error) {
    await up.fail(error instanceof Error ? error.message : String(error));
    throw error;
  }
}
