/**
 * The life of one container, from its assignment to its end. `#run` reads top to bottom: a source and a socket, an
 * engine's container, a worker that says hello, a handler that is loaded, inputs, an end. Whatever step fails or is
 * overtaken, `#live` clears up behind it and reports: no path leaves a container, a folder or a second unpaid.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  Runtime as ProtoRuntime,
  WebKind,
  type FunctionsServiceService,
  type InvocationError,
  type Phase,
} from '@berth/contracts/functions/v1/functions';
import {
  ContainerState,
  type Assignment,
  type ContainerSpec,
  type Device,
  type Shell,
} from '@berth/contracts/scheduler/v1/scheduler';
import {
  defaultImage,
  EngineError,
  type ContainerEngine,
  type ContainerExit,
  type Mount,
} from '@berth/container-engine';
import { BerthError, MESSAGE_BYTES_MAX, type ClientOf, type Logger } from '@berth/service-kit';
import {
  listenForSessions,
  listenForWorker,
  WORKER_FOLDER_INSIDE,
  workerCommand,
  type Runtime,
  type SessionServer,
  type WorkerConnection,
  type WorkerServer,
} from '@berth/worker-protocol';
import {
  errorOfContainer,
  errorOfEngine,
  errorOfExit,
  errorOfFullDisk,
  errorOfImage,
  errorOfStartup,
  errorOfImageBuild,
  isDiskFull,
  type Exit,
  type KillCause,
} from '../domain/ending';
import { usageModel } from '../domain/gpu';
import { openApiSocket, type ApiSocket, type ApiTools } from '../api/api-socket';
import { Backoff } from '../files/backoff';
import type { Bus } from '@berth/events';
import type { Line } from '../line/line';
import { coldStartSeconds, containersGauge } from '../metrics';
import type { InputQueue } from '../queue/input-queue';
import type { UsageBook } from '../usage/usage-book';
import type { ContainerVolumes, Volumes } from '../volumes/volumes';
import { runBatchSlot } from './batch';
import { ImageBuildFailed, type HeldImage, type NodeImages } from '../images/node-images';
import type { Gateways } from '../web/gateways';
import { runShell, SHELL_HOST_COMMAND } from '../shell/run-shell';
import { Company } from './company';
import { watchFrozen } from './frozen';
import { LogPipe } from './log-pipe';
import type { Reporter } from './reporter';
import { API_SOCKET_NAME, SOCKET_NAME, WEB_SOCKET_NAME, type RunFolders } from './run-folders';
import type { Secrets } from './secrets';
import { runSlot, type RunningInput, type SlotContext } from './slot';
import type { HeldSource, Sources } from './sources';

/** What containers are made with. */
export interface ContainerTools {
  engine: ContainerEngine;
  sources: Sources;
  secrets: Secrets;
  volumes: Volumes;
  images: Pick<NodeImages, 'hold'>;
  runFolders: RunFolders;
  /** The folder with the worker's files, as the engine sees it. */
  workerFiles: string;
  queue: InputQueue;
  line: Line;
  reporter: Reporter;
  usage: UsageBook;
  bus: Bus;
  api: ApiTools;
  gateways: Gateways;
  functions: Pick<ClientOf<typeof FunctionsServiceService>, 'getInputPayload'>;
  nodeId(): string;
  /** How long nothing in a container can run before it is replaced. */
  frozenSeconds: number;
  log: Logger;
}

/** From the engine's start to the worker's hello, before any user code runs. */
const HELLO_MS = 60_000;
/** For assignments of a scheduler that does not name a startup timeout. Seconds. */
const STARTUP_SECONDS = 60;
/** From a worker that has left, or was told to, to the end of its process. */
const LEAVE_MS = 3_000;
/** From a worker that was told to leave to its leaving: a class has exit hooks, which save what they must. */
const EXIT_MS = 30_000;
/** What an engine gets to end a container that was killed. */
const ENGINE_MS = 10_000;
/** Pauses between attempts to take away what an engine could not end. */
const REMOVE_AGAIN_MS = { first: 200, max: 10_000 };
/** How one is taken to have ended whose engine does not say. */
const KILLED: Exit = { exitCode: 137, outOfMemory: false };
const LOG_END_MS = 1_000;
const LAST_WORDS_MS = 500;
/** A result has to fit into one message to `functions`, with what stands around it. */
const FRAME_BYTES_MAX = MESSAGE_BYTES_MAX - 64 * 1024;

const SOURCE_INSIDE = '/berth/source';
const RUN_INSIDE = '/berth/run';
const MIB = 1024 * 1024;
const RUNTIMES: Partial<Record<ProtoRuntime, Runtime>> = {
  [ProtoRuntime.RUNTIME_PYTHON]: 'python',
  [ProtoRuntime.RUNTIME_NODE]: 'node',
};

const WEB_KINDS: Partial<Record<WebKind, string>> = {
  [WebKind.WEB_KIND_ENDPOINT]: 'endpoint',
  [WebKind.WEB_KIND_ASGI]: 'asgi',
  [WebKind.WEB_KIND_WSGI]: 'wsgi',
  [WebKind.WEB_KIND_SERVER]: 'server',
};

/** It never became ready, for a reason that its inputs are told. */
class StartFailed extends Error {
  constructor(
    readonly error: InvocationError,
    cause?: unknown,
  ) {
    super(error.message, { cause });
  }
}

/** It was killed, for this reason, before it became ready. */
class Overtaken extends Error {}

type Final = { state: ContainerState; error?: InvocationError | undefined };

export class Container {
  readonly containerId: string;
  readonly spec: ContainerSpec;
  readonly beganAt = new Date();
  /** Resolves when nothing of it is left and its last report is on its way; or when it was left to the next start. */
  readonly ended: Promise<void>;
  readonly #token = randomBytes(32).toString('base64url');
  readonly #running = new Map<string, RunningInput>();
  readonly #phases: Phase[] = [];
  readonly #log: Logger;
  readonly #logs: LogPipe;
  readonly #pulling = new AbortController();
  readonly #leaving = new AbortController();
  readonly #overtaken = Promise.withResolvers<never>();
  readonly #exited = Promise.withResolvers<{ exit: Exit; killed: KillCause | undefined }>();
  /** When an image that was missing was there. */
  #imageAt: Date | undefined;
  #phasesTold = false;
  #isReady = false;
  #drained = false;
  #killed: KillCause | undefined;
  #engineId: string | undefined;
  #hasStarted = false;
  #server: WorkerServer | undefined;
  #api: ApiSocket | undefined;
  /** Of a web endpoint. */
  #sessions: SessionServer | undefined;
  #held: HeldSource | undefined;
  #heldImage: HeldImage | undefined;
  #following: Promise<void> | undefined;
  /** Steps that may be under way when the container is overtaken: clearing up waits for them. */
  #listening: Promise<{ server: WorkerServer; runFolder: string }> | undefined;
  #volumes: Promise<ContainerVolumes> | undefined;
  #creating: Promise<string> | undefined;
  #starting: Promise<void> | undefined;

  constructor(
    private readonly tools: ContainerTools,
    private readonly assignment: Assignment,
  ) {
    this.containerId = assignment.containerId;
    this.spec = assignment.spec!;
    this.#log = tools.log.child({ containerId: this.containerId, functionId: this.spec.functionId });
    this.#logs = new LogPipe(tools.bus.nats, { ...this.spec, containerId: this.containerId });
    this.#overtaken.promise.catch(() => undefined);
    containersGauge.inc();
    this.ended = this.#live().finally(() => containersGauge.dec());
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** The cards that it has, from its assignment to its end. */
  get devices(): readonly Device[] {
    return this.assignment.devices;
  }

  get inputsRunning(): number {
    return this.#running.size;
  }

  /** Ends an input if it runs here, and if `attempt` is the one that does. */
  cancel(inputId: string, attempt?: number): void {
    const input = this.#running.get(inputId);
    if (input && (attempt === undefined || input.attempt === attempt)) input.end('cancelled');
  }

  /** Takes no more inputs, and ends when those that run have ended. One that is not ready yet, or has a shell, ends at once. */
  drain(): void {
    if (this.#drained) return;
    this.#drained = true;
    this.#pulling.abort();
    if (!this.#isReady || this.spec.shell) this.kill('unwanted');
  }

  /** Ends it now. The first reason counts. */
  kill(cause: KillCause): void {
    if (this.#killed) return;
    this.#killed = cause;
    this.#pulling.abort();
    this.#overtaken.reject(new Overtaken());
    if (this.#hasStarted) void this.#killInEngine();
  }

  /** Ends it, for this runner stops: what the engine cannot end now, the next start ends and bills. */
  leave(): void {
    this.#leaving.abort();
    this.kill('leaving');
  }

  async #live(): Promise<void> {
    const { reporter } = this.tools;
    void reporter.report(this.#reportOf({ state: ContainerState.CONTAINER_STATE_STARTING }));
    let final: Final;
    try {
      const error = await this.#run();
      final = error
        ? { state: ContainerState.CONTAINER_STATE_FAILED, error }
        : { state: ContainerState.CONTAINER_STATE_STOPPED };
    } catch (error) {
      final = this.#finalOfFailure(error);
    }
    // Its cards are free with the report, and no sooner than it is gone.
    if (!(await this.#clear())) return;
    this.#log.info({ state: final.state, error: final.error?.type }, 'a container ended');
    void reporter.report(this.#reportOf(final));
  }

  /** Resolves when the container has ended: to the error that it failed by, or to nothing. */
  async #run(): Promise<InvocationError | undefined> {
    const { tools, spec } = this;
    const { engine, usage } = tools;
    this.#phase('placed', this.assignment.placedAt ?? this.beganAt, this.beganAt);

    // Pulling inputs needs its consumer, which can be made meanwhile.
    const slots = Array.from({ length: spec.shell ? 0 : spec.slots || 1 }, () =>
      tools.queue.openSlot(spec.functionId, spec.version),
    );
    this.#pulling.signal.addEventListener('abort', () => slots.forEach((slot) => void slot.close()));
    this.#listening = this.#listen();
    this.#volumes = this.#openVolumes();
    const [source, secretEnv, volumes, { server, runFolder }] = await this.#unlessOvertaken(
      Promise.all([this.#source(), this.#secretEnv(), this.#volumes, this.#listening]),
    );
    const runtime = RUNTIMES[spec.runtime] ?? 'python';
    const mounts: Mount[] = [
      { source: tools.workerFiles, target: WORKER_FOLDER_INSIDE, readOnly: true },
      { source, target: SOURCE_INSIDE, readOnly: true },
      { source: runFolder, target: RUN_INSIDE, readOnly: true },
      ...volumes.mounts,
    ];
    const sourceAt = this.#phase('image', this.beganAt);

    this.#creating = this.#create(runtime, mounts, volumes);
    const id = await this.#unlessOvertaken(this.#creating);
    const createdAt = this.#phase('create', this.#imageAt ?? sourceAt);

    usage.open(this.#holding(), createdAt);
    this.#hasStarted = true;
    this.#starting = engine.start(id).catch((error: unknown) => {
      usage.discard(this.containerId);
      this.#hasStarted = false;
      throw this.#startFailure(error, runtime);
    });
    // Watched only from the start's answer on: a look before it would make the engine's own start wait.
    const exit = this.#starting.then(() => engine.wait(id));
    exit.catch(() => undefined);
    const diedEarly = exit.then((ended) => {
      throw new StartFailed(errorOfExit(ended, this.#killed, this.#limits()));
    });
    diedEarly.catch(() => undefined);

    const startup = this.#startup(createdAt);
    if (spec.shell) {
      await this.#within(startup.leftMs(), startup.error, this.#starting, diedEarly);
      this.#phase('start', createdAt);
      volumes.begin();
      return this.#runShell(spec.shell, id, secretEnv, exit);
    }
    const greeted = this.#within(HELLO_MS, noHello, server.accepted, diedEarly);
    const worker = await this.#within(startup.leftMs(), startup.error, greeted, diedEarly);
    const helloAt = this.#phase('start', createdAt);
    const loading = worker.start(spec.handler, engine.pathInside(mounts, SOURCE_INSIDE), {
      slots: slots.length,
      ...(spec.parameters ? { parameters: JSON.parse(spec.parameters) as Record<string, unknown> } : {}),
      env: secretEnv,
    });
    // What the worker said before it ended is read before its socket closes.
    const diedLoading = worker.closed.then(() => diedEarly);
    const loaded = await this.#within(startup.leftMs(), startup.error, loading, diedLoading);
    if (loaded.kind === 'init_failed') throw new StartFailed(initError(loaded.error));
    if (loaded.kind === 'lost') {
      if (loaded.closed.reason === 'protocol_error') this.kill('protocol');
      const ended = (await this.#exitSoon(exit)) ?? KILLED;
      throw new StartFailed(errorOfExit(ended, this.#killed, this.#limits()));
    }
    const readyAt = this.#phase('init', helloAt);

    volumes.begin();
    this.#isReady = true;
    const context: SlotContext = {
      ...tools,
      containerId: this.containerId,
      spec,
      worker,
      web: this.#sessions && { gateways: tools.gateways, sessions: this.#sessions, log: this.#log },
      log: this.#log,
      running: this.#running,
      company: new Company(),
      exitCalled: false,
      pulling: this.#pulling.signal,
      ended: this.#exited.promise,
      kill: (cause) => this.kill(cause),
      takePhases: () => this.#takePhases(),
    };
    const runInputs = spec.batching ? runBatchSlot : runSlot;
    const working = Promise.all(slots.map((queue) => runInputs(context, queue)));
    void tools.reporter.report(this.#reportOf({ state: ContainerState.CONTAINER_STATE_READY }));
    coldStartSeconds.observe((readyAt.getTime() - this.beganAt.getTime()) / 1000);
    this.#followOutput(id);

    const stopLooking = watchFrozen(engine, id, {
      seconds: tools.frozenSeconds,
      isBusy: () => this.#running.size > 0,
      onFrozen: () => {
        this.#log.warn('a container was frozen for too long: it is replaced');
        this.kill('frozen');
      },
    });
    const hadInputs = await this.#untilOver(worker, working, exit);
    stopLooking();
    const known = await this.#exitSoon(exit);
    const ended = known ?? KILLED;
    // Its last words are in the socket still.
    await Promise.race([worker.closed, delay(LAST_WORDS_MS)]);
    worker.close();
    this.#exited.resolve({ exit: ended, killed: this.#killed });
    if (known) usage.close(this.containerId, known.finishedAt);
    this.#pulling.abort();
    await working;
    return errorOfContainer(ended, {
      killed: this.#killed,
      drained: this.#drained,
      hadInputs,
      limits: this.#limits(),
    });
  }

  /** Serves its user until there is nothing left to serve: its end is the container's. */
  async #runShell(
    shell: Shell,
    id: string,
    env: Record<string, string>,
    exit: Promise<ContainerExit>,
  ): Promise<InvocationError | undefined> {
    this.#isReady = true;
    void this.tools.reporter.report(this.#reportOf({ state: ContainerState.CONTAINER_STATE_READY }));
    const over = new AbortController();
    const place = { containerId: this.containerId, id, env: this.#shellEnv(env), cwd: SOURCE_INSIDE };
    const served = runShell({ ...this.tools, log: this.#log }, shell, place, over.signal);
    served.catch(() => undefined);
    // The gateway ends it first; this is for one that is gone without a word.
    const limit = setTimeout(() => over.abort(), shell.timeout * 1000 + LEAVE_MS);
    try {
      const ended = await this.#unlessOvertaken(Promise.race([served.then(() => undefined), exit]));
      return ended && errorOfExit(ended, this.#killed, this.#limits());
    } finally {
      clearTimeout(limit);
      over.abort();
    }
  }

  /** A home that can be written, unless the function says where that is. */
  #shellEnv(secrets: Record<string, string>): Record<string, string> {
    return { ...secrets, ...('HOME' in this.spec.env ? { HOME: this.spec.env.HOME! } : {}) };
  }

  /** Waits until the worker has left, was lost, or has nothing left to do; whether it went away with inputs. */
  async #untilOver(
    worker: WorkerConnection,
    working: Promise<unknown>,
    exit: Promise<ContainerExit>,
  ): Promise<boolean> {
    let hadInputs = false;
    const left = worker.closed.then(({ reason }) => {
      if (reason === 'protocol_error') this.kill('protocol');
    });
    // Looked at in the moment in which it goes: slots forget their inputs right after.
    const noteInputs = () => (hadInputs ||= this.#running.size > 0);
    const drained = working.then(async () => {
      await worker.stop(EXIT_MS);
    });
    await Promise.race([left.then(noteInputs), exit.then(noteInputs, noteInputs), drained]);
    this.#pulling.abort();
    return hadInputs;
  }

  /** How it ended; what does not end by itself by now is killed. Undefined where the engine does not say in time. */
  async #exitSoon(exit: Promise<ContainerExit>): Promise<ContainerExit | undefined> {
    const late = setTimeout(() => void this.#killInEngine(), LEAVE_MS);
    const ended = exit.catch((error: unknown) => {
      this.#log.error({ err: error }, 'the engine does not say how a container ended');
      return undefined;
    });
    const known = await Promise.race([ended, delay(LEAVE_MS + ENGINE_MS)]);
    clearTimeout(late);
    return known;
  }

  async #source(): Promise<string> {
    try {
      this.#held = this.tools.sources.hold(this.spec.workspaceId, this.spec.source);
      return await this.#held.folder;
    } catch (error) {
      this.#log.error({ err: error, source: this.spec.source }, 'a source tree could not be fetched');
      const message = `The function's source could not be fetched: ${(error as Error).message}`;
      throw new StartFailed({ type: 'infrastructure', message, traceback: undefined }, error);
    }
  }

  /**
   * Goes to the worker over its socket, not into the container's description: an engine keeps that on its disk and shows
   * it to whoever may ask it.
   */
  async #secretEnv(): Promise<Record<string, string>> {
    try {
      return await this.tools.secrets.of(this.spec);
    } catch (error) {
      this.#log.error(
        { err: error, secrets: this.spec.secrets },
        'the secrets of a container could not be had',
      );
      const isUsers = error instanceof BerthError && ['not_found', 'data_loss'].includes(error.kind);
      throw new StartFailed({
        type: isUsers ? 'init_failed' : 'infrastructure',
        message: `The function's secrets could not be had: ${(error as Error).message}`,
        traceback: undefined,
      });
    }
  }

  async #openVolumes(): Promise<ContainerVolumes> {
    const say = (text: string) => this.#logs.print('stderr', Buffer.from(text), '');
    try {
      return await this.tools.volumes.open(this.containerId, this.spec, say, this.#pulling.signal);
    } catch (error) {
      const isUsers = error instanceof BerthError && ['not_found', 'data_loss'].includes(error.kind);
      const level = isUsers ? 'info' : 'error';
      this.#log[level](
        { err: error, volumes: this.spec.volumes },
        'the volumes of a container could not be had',
      );
      throw new StartFailed(
        {
          type: isUsers ? 'init_failed' : 'infrastructure',
          message: `The function's volumes could not be had: ${(error as Error).message}`,
          traceback: undefined,
        },
        error,
      );
    }
  }

  async #listen(): Promise<{ server: WorkerServer; runFolder: string }> {
    const runFolder = await this.tools.runFolders.make(this.containerId);
    const opening = this.#openApi(runFolder);
    const server = await listenForWorker({
      at: { path: join(runFolder, SOCKET_NAME) },
      token: this.#token,
      frameBytesMax: FRAME_BYTES_MAX,
      onLog: ({ stream, inputId, bytes }) => this.#logs.print(stream, bytes, this.#callOf(inputId)),
      onRejected: (reason) => this.#log.warn({ reason }, 'somebody who is not the worker came to its socket'),
    });
    this.#server = server;
    await opening;
    if (this.spec.web) this.#sessions = await listenForSessions(join(runFolder, WEB_SOCKET_NAME));
    return { server, runFolder };
  }

  async #openApi(runFolder: string): Promise<void> {
    const { containerId, spec } = this;
    const path = join(runFolder, API_SOCKET_NAME);
    this.#api = await openApiSocket(this.tools.api, { path, containerId, spec, log: this.#log });
  }

  /** An image is looked for only where the engine misses it: mostly it is there. */
  async #create(runtime: Runtime, mounts: Mount[], volumes: ContainerVolumes): Promise<string> {
    const { engine, images } = this.tools;
    const image = this.spec.image || defaultImage(runtime);
    const held = images.hold(this.spec.workspaceId, image);
    this.#heldImage = held;
    await held.mayCreate();
    const create = async () => {
      this.#engineId = await engine.create({
        name: this.containerId,
        image: held.reference,
        command: this.#command(runtime),
        env: {
          ...this.spec.env,
          ...volumes.env,
          BERTH_SOCKET: `${RUN_INSIDE}/${SOCKET_NAME}`,
          BERTH_RUN_TOKEN: this.#token,
          BERTH_API_SOCKET: `${RUN_INSIDE}/${API_SOCKET_NAME}`,
          BERTH_APP_ID: this.spec.appId,
          BERTH_FUNCTION_ID: this.spec.functionId,
          BERTH_CONTAINER_ID: this.containerId,
          ...this.#webEnv(),
        },
        cwd: SOURCE_INSIDE,
        labels: {
          'berth.container': this.containerId,
          'berth.function': this.spec.functionId,
          'berth.workspace': this.spec.workspaceId,
        },
        mounts,
        cpus: this.spec.cpu || undefined,
        memoryBytes: this.spec.memory ? this.spec.memory * MIB : undefined,
        devices: this.assignment.devices.map(({ index, uuid, simulated }) => ({
          kind: 'gpu',
          index,
          ...(uuid ? { uuid } : {}),
          simulated,
        })),
        network: 'bridge',
        ...(volumes.user ? { user: volumes.user } : {}),
      });
      return this.#engineId;
    };
    try {
      return await create();
    } catch (error) {
      if (!isMissingImage(error)) throw this.#startFailure(error, runtime);
      if (image.startsWith('berth/')) throw new StartFailed(errorOfImage(image, error.message));
    }
    await held.ensure().catch((error: unknown) => {
      throw new StartFailed(
        error instanceof ImageBuildFailed
          ? errorOfImageBuild(image, error.error)
          : errorOfImage(image, (error as Error).message),
      );
    });
    this.#imageAt = this.#extendPhase('image');
    return create().catch((error: unknown) => {
      throw this.#startFailure(error, runtime);
    });
  }

  #command(runtime: Runtime): string[] {
    return this.spec.shell ? SHELL_HOST_COMMAND : workerCommand(runtime);
  }

  #startFailure(error: unknown, runtime: Runtime): Error {
    if (!(error instanceof EngineError)) return error as Error;
    this.#log.error({ err: error }, 'the engine could not start a container');
    const image = this.spec.image || defaultImage(runtime);
    const program = this.#command(runtime)[0]!;
    return new StartFailed(errorOfEngine(error, { image, program }));
  }

  /** How long it may take from its start until it is ready, and what its inputs are told when that is over. */
  #startup(startedAt: Date) {
    const seconds = this.spec.startupTimeout || Math.max(STARTUP_SECONDS, this.spec.timeout);
    return {
      leftMs: () => Math.max(0, startedAt.getTime() + seconds * 1000 - Date.now()),
      error: () => errorOfStartup(seconds),
    };
  }

  /** What is waited for before a container is ready: or its end, or the runner's word, or too long a time. */
  async #within<T>(
    ms: number,
    error: () => InvocationError,
    work: Promise<T>,
    died: Promise<never>,
  ): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StartFailed(error())), ms);
    });
    try {
      return await Promise.race([work, died, late, this.#overtaken.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #unlessOvertaken<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    return Promise.race([work, this.#overtaken.promise]);
  }

  #followOutput(id: string): void {
    this.#following ??= (async () => {
      try {
        for await (const { stream, data, time } of this.tools.engine.logs(id, { follow: true })) {
          this.#logs.print(stream, data, '', time);
        }
      } catch (error) {
        this.#log.warn({ err: error }, 'the output of a container could not be read to its end');
      }
    })();
  }

  /** Takes everything away that stands. Every step is tried, whatever the others did. False: some is left. */
  async #clear(): Promise<boolean> {
    const { engine, usage, runFolders } = this.tools;
    this.#pulling.abort();
    await Promise.allSettled([this.#listening, this.#creating, this.#starting]);
    this.#server?.close();
    this.#api?.close();
    this.#sessions?.close();
    const id = this.#engineId;
    let exit: ContainerExit | undefined;
    if (id && this.#hasStarted) {
      // Also one that never became ready has printed why.
      this.#followOutput(id);
      await this.#killInEngine();
      exit = await this.#exitSoon(engine.wait(id));
      this.#exited.resolve({ exit: exit ?? KILLED, killed: this.#killed });
      if (exit) usage.close(this.containerId, exit.finishedAt);
      await Promise.race([this.#following, delay(LOG_END_MS)]);
    }
    const isGone = !id || (await this.#removeForSure(id));
    if (isGone) {
      usage.close(this.containerId, new Date());
      this.#held?.release();
      this.#heldImage?.release();
      await this.#volumes?.then(
        (volumes) => volumes.end(this.#leaving.signal),
        () => undefined,
      );
    }
    await this.#logs.end();
    await runFolders
      .remove(this.containerId)
      .catch((error: unknown) => this.#log.warn({ err: error }, 'a run folder could not be removed'));
    return isGone;
  }

  /**
   * What the engine cannot take away may run on: it is tried again for as long as it takes, and the container lives,
   * is billed and keeps its cards meanwhile. False where the runner stops first.
   */
  async #removeForSure(id: string): Promise<boolean> {
    const { engine, usage } = this.tools;
    const backoff = new Backoff(REMOVE_AGAIN_MS.first, REMOVE_AGAIN_MS.max);
    for (;;) {
      try {
        await engine.remove(id);
        return true;
      } catch (error) {
        this.#log.error({ err: error }, 'a container could not be removed: trying again');
      }
      if (this.#leaving.signal.aborted) {
        this.#log.warn('a container is left to the next start');
        return false;
      }
      await backoff.wait(this.#leaving.signal);
      if (this.#hasStarted) await this.#killInEngine();
      // An engine that is back knows since when it has been gone.
      const exit = this.#hasStarted && (await this.#exitSoon(engine.wait(id)));
      if (exit) usage.close(this.containerId, exit.finishedAt);
    }
  }

  async #killInEngine(): Promise<void> {
    await this.tools.engine.kill(this.#engineId!).catch((error: unknown) => {
      if (!(error instanceof EngineError && error.kind === 'not_found'))
        this.#log.error({ err: error }, 'a container could not be killed');
    });
  }

  #finalOfFailure(error: unknown): Final {
    if (!this.#killed && isDiskFull(error)) {
      this.#log.error({ err: error }, 'a container could not be started: the disk is full');
      return { state: ContainerState.CONTAINER_STATE_FAILED, error: errorOfFullDisk() };
    }
    if (error instanceof StartFailed && (!this.#killed || this.#killed === 'protocol'))
      return { state: ContainerState.CONTAINER_STATE_FAILED, error: error.error };
    if (error instanceof Overtaken || this.#killed) return { state: ContainerState.CONTAINER_STATE_STOPPED };
    this.#log.error({ err: error }, 'a container failed by a bug');
    const message = 'The container could not be started. The log of its runner has the reason.';
    return {
      state: ContainerState.CONTAINER_STATE_FAILED,
      error: { type: 'infrastructure', message, traceback: undefined },
    };
  }

  /** How the worker of a web endpoint knows what it is, and where it brings each request. */
  #webEnv(): Record<string, string> {
    const { web } = this.spec;
    if (!web) return {};
    return {
      BERTH_WEB: JSON.stringify({ kind: WEB_KINDS[web.kind], method: web.method, port: web.port }),
      BERTH_WEB_SOCKET: `${RUN_INSIDE}/${WEB_SOCKET_NAME}`,
    };
  }

  #callOf(inputId: string | null): string {
    if (inputId === null) return '';
    return this.#running.get(inputId)?.callId ?? '';
  }

  #takePhases(): Phase[] {
    if (this.#phasesTold) return [];
    this.#phasesTold = true;
    return this.#phases;
  }

  /** Notes a step that began then and ends now, or at `until`; gives its end. */
  #phase(name: string, startedAt: Date, until = new Date()): Date {
    const durationMs = Math.max(0, until.getTime() - startedAt.getTime());
    this.#phases.push({ name, startedAt, durationMs });
    return until;
  }

  #extendPhase(name: string): Date {
    const phase = this.#phases.find((each) => each.name === name)!;
    const until = new Date();
    phase.durationMs = until.getTime() - phase.startedAt!.getTime();
    return until;
  }

  #limits() {
    return { timeoutSeconds: this.spec.timeout, memoryMib: this.spec.memory };
  }

  #holding() {
    const { organizationId, workspaceId, appId, functionId, cpu, memory } = this.spec;
    const { containerId } = this;
    const gpu = this.assignment.devices.map(usageModel);
    const nodeId = this.tools.nodeId();
    return { containerId, organizationId, workspaceId, appId, functionId, nodeId, cpu, memory, gpu };
  }

  #reportOf({ state, error }: Final) {
    return { containerId: this.containerId, state, phases: [...this.#phases], error };
  }
}

const delay = (ms: number): Promise<undefined> =>
  new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());

const noHello = (): InvocationError => ({
  type: 'init_failed',
  message: `The container was given up: its worker did not say hello within ${HELLO_MS / 1000} seconds.`,
  traceback: undefined,
});

const isMissingImage = (error: unknown): error is EngineError =>
  error instanceof EngineError && error.kind === 'not_found' && error.field === 'image';

/** What loading the user's source raised: its class stands in the message, since the type says `init_failed`. */
const initError = ({ type, message, traceback }: { type: string; message: string; traceback: string }) => ({
  type: 'init_failed',
  message: `${type}: ${message}`,
  traceback: traceback || undefined,
});
