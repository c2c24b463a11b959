import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter, on } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { arch, availableParallelism, release, totalmem, version } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { BASE_IMAGE } from '../base-image';
import { deviceEnv } from '../device-env';
import {
  EngineError,
  type ContainerEngine,
  type ContainerEvent,
  type ContainerExit,
  type ContainerSpec,
  type ContainerState,
  type ContainerStats,
  type ContainerSummary,
  type EngineDescription,
  type ExecRequest,
  type ExecSession,
  type ImageSummary,
  type LogChunk,
  type LogOptions,
  type Mount,
} from '../engine';
import { exitCodeOf, signalOf } from '../exit-code';
import { areStopped } from '../frozen';
import { checkExec, completeSpec, type CompleteSpec } from '../validate-spec';
import { CONTAINER_MARK, killAll, markedPids, signal, startTimeOf, statesOf, usageOf } from './members';
import { OutputFiles } from './output-files';
import { processExec } from './process-exec';
import { heedsSignals, supervise } from './supervise';
import { translatePaths } from './translate-paths';

/** Whoever opens this engine shows it, loudly. */
export const PROCESS_ENGINE_WARNING =
  'The process engine gives no isolation: user code runs as this user, sees this machine’s files and network, and ' +
  'keeps to no limit of processors or processes. Use it for your own code only; install Docker for anything else.';

/** A container that an earlier engine started has no exit event of ours; its file tells, this is the fall-back. */
const ADOPTED_CHECK_MS = 1_000;
/** A killed one writes no file, and is gone in a moment. */
const KILLED_CHECK_MS = 10;
const STDERR_TAIL_BYTES = 16 * 1024;

/** What a process that ran into its memory limit leaves behind: Python, Node, C. */
const LOOKS_OUT_OF_MEMORY =
  /MemoryError|out of memory|bad_alloc|allocate memory|ENOMEM|buffer allocation failed/;

/** `stateDir`: one folder per platform; what is below it is this engine's. `hostPath`: where programs are found. */
export async function openProcess(
  stateDir: string,
  owner: string,
  hostPath: string,
): Promise<ContainerEngine> {
  const root = join(stateDir, 'process', owner);
  const containersDir = join(root, 'containers');
  await mkdir(containersDir, { recursive: true, mode: 0o700 });
  const python = await findPython(hostPath);
  await linkPrograms(join(root, 'bin'), { node: process.execPath, ...(python ? { python3: python } : {}) });

  const engine = new ProcessEngine(containersDir, `${join(root, 'bin')}:${hostPath}`, python);
  await engine.adopt();
  return engine;
}

interface Entry {
  id: string;
  dir: string;
  spec: CompleteSpec;
  state: ContainerState;
  pid?: number;
  output: OutputFiles;
  ended: PromiseWithResolvers<ContainerExit>;
  /** Of an adopted container: how often its process is looked for; 0 ends that. */
  checkEvery?: (ms: number) => void;
}

class ProcessEngine implements ContainerEngine {
  readonly kind = 'process';
  readonly isolated = false;
  readonly #entries = new Map<string, Entry>();
  readonly #emitter = new EventEmitter<{ event: [ContainerEvent] }>();
  readonly #closed = new AbortController();

  constructor(
    private readonly containersDir: string,
    private readonly path: string,
    private readonly python: string | undefined,
  ) {
    this.#emitter.setMaxListeners(0);
  }

  /** Takes over what an earlier engine left: running, ended, or created and never started. */
  async adopt(): Promise<void> {
    for (const id of await readdir(this.containersDir)) {
      const dir = join(this.containersDir, id);
      const spec = readJson<CompleteSpec>(join(dir, 'spec.json'));
      if (!spec) {
        await rm(dir, { recursive: true, force: true }); // Its creation was never finished.
        continue;
      }
      const entry = this.#remember(id, dir, spec);
      const started = readJson<{ pid: number; startTime: string }>(join(dir, 'pid.json'));
      if (!started) continue;
      entry.pid = started.pid;
      entry.state = 'running';
      if (startTimeOf(started.pid) === started.startTime) this.#watchAdopted(entry, started.startTime);
      else this.#finish(entry);
    }
  }

  async describe(): Promise<EngineDescription> {
    return {
      kind: this.kind,
      isolated: this.isolated,
      version: release(),
      runtime: 'host',
      operatingSystem: version(),
      architecture: arch() === 'x64' ? 'amd64' : arch(),
      cgroups: 'none',
      cpus: availableParallelism(),
      memoryBytes: totalmem(),
    };
  }

  /** A base image means the host's own python3 and node; there are no others. */
  async hasImage(image: string): Promise<boolean> {
    return image.split(':')[0] === BASE_IMAGE.split(':')[0];
  }

  async pull(image: string): Promise<void> {
    if (!(await this.hasImage(image))) throw noImages(image);
  }

  async build(): Promise<string> {
    throw noBuilds();
  }

  async findImage(image: string): Promise<ImageSummary | undefined> {
    return (await this.hasImage(image)) ? { id: image, tags: [image], bytes: 0, onBuild: [] } : undefined;
  }

  async tagImage(): Promise<void> {
    throw noBuilds();
  }

  async removeImage(): Promise<void> {
    throw noBuilds();
  }

  async create(spec: ContainerSpec): Promise<string> {
    const complete = completeSpec(spec);
    if (!(await this.hasImage(spec.image))) throw noImages(spec.image);
    for (const [index, { source }] of complete.mounts.entries()) {
      await stat(source).catch(() => {
        const field = `mounts[${index}].source`;
        throw new EngineError('invalid', `${field}: there is no ${source} on this host.`, { field });
      });
    }
    for (const { spec: other } of this.#entries.values()) {
      if (other.name !== spec.name) continue;
      throw new EngineError('conflict', `There is a container named ${spec.name}; remove it first.`, {
        field: 'name',
      });
    }

    const id = `pc-${randomBytes(16).toString('hex')}`;
    const dir = join(this.containersDir, id);
    this.#remember(id, dir, complete); // Before the first await: the name is taken from here on.
    try {
      await mkdir(join(dir, 'tmp'), { recursive: true, mode: 0o700 });
      await writeFile(join(dir, 'spec.json.part'), JSON.stringify(complete), { mode: 0o600 });
      await rename(join(dir, 'spec.json.part'), join(dir, 'spec.json'));
      return id;
    } catch (error) {
      this.#entries.delete(id);
      await rm(dir, { recursive: true, force: true });
      throw new EngineError('failed', `Could not create container ${spec.name}.`, { cause: error });
    }
  }

  async start(id: string): Promise<void> {
    const entry = this.#entry(id);
    if (entry.state === 'running') return;
    if (entry.state === 'exited') {
      throw new EngineError('conflict', `Container ${id} has ended, and starts only once; create another.`);
    }
    entry.state = 'running';
    const child = supervise({
      stateDir: entry.dir,
      command: entry.spec.command.map((word) => translatePaths(mountsOf(entry), word)),
      env: this.#envOf(entry),
      cwd: translatePaths(mountsOf(entry), entry.spec.cwd),
      memoryBytes: entry.spec.memoryBytes ?? 0,
    });
    entry.output.watch(() => undefined);
    child.once('exit', (code, signalName) => this.#finish(entry, exitCodeOf(code, signalName)));
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) => {
        entry.state = 'created';
        reject(new EngineError('failed', `Could not start container ${id}.`, { cause }));
      });
    });
    const heeding = heedsSignals(child);
    entry.pid = child.pid!;
    writeFileSync(
      join(entry.dir, 'pid.json'),
      JSON.stringify({ pid: child.pid, startTime: startTimeOf(child.pid!) }),
    );
    child.unref();
    this.#emit(entry, 'start');
    await heeding;
  }

  async exec(id: string, request: ExecRequest): Promise<ExecSession> {
    checkExec(request);
    const entry = this.#running(id);
    const mounts = mountsOf(entry);
    return processExec(
      {
        ...request,
        command: request.command.map((word) => translatePaths(mounts, word)),
        env: { ...this.#envOf(entry), ...translateEnv(mounts, request.env ?? {}) },
        cwd: translatePaths(mounts, request.cwd ?? entry.spec.cwd),
      },
      this.python,
    );
  }

  async *logs(id: string, options: LogOptions = {}): AsyncGenerator<LogChunk> {
    const { output, state } = this.#entry(id);
    if (state !== 'created') yield* output.read(options);
  }

  async stats(id: string): Promise<ContainerStats> {
    const { spec } = this.#running(id);
    if (process.platform !== 'linux') {
      throw new EngineError('unsupported', 'The process engine can measure only on Linux.');
    }
    return { ...usageOf(markedPids(CONTAINER_MARK, id)), memoryLimitBytes: spec.memoryBytes ?? 0 };
  }

  async isFrozen(id: string): Promise<boolean> {
    const { state, pid } = this.#entry(id);
    if (state !== 'running') return false;
    // The supervisor only waits.
    return areStopped(statesOf(markedPids(CONTAINER_MARK, id).filter((each) => each !== pid)));
  }

  async stop(id: string, graceSeconds: number): Promise<void> {
    const entry = this.#entry(id);
    if (entry.state !== 'running') return;
    signal(-entry.pid!, 'SIGTERM');
    const timer = setTimeout(() => this.#killNow(entry), graceSeconds * 1000);
    await entry.ended.promise.finally(() => clearTimeout(timer));
  }

  async kill(id: string): Promise<void> {
    const entry = this.#entry(id);
    if (entry.state !== 'running') return;
    this.#killNow(entry);
    await entry.ended.promise;
  }

  async remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (!entry) return;
    await this.kill(id);
    this.#entries.delete(id);
    entry.ended.promise.catch(() => undefined);
    entry.ended.reject(notFound(id)); // Settled already where it ever ran.
    entry.output.close();
    await rm(entry.dir, { recursive: true, force: true });
  }

  async wait(id: string): Promise<ContainerExit> {
    return this.#entry(id).ended.promise;
  }

  async list(labels: Record<string, string> = {}): Promise<ContainerSummary[]> {
    return [...this.#entries.values()]
      .filter(({ spec }) => Object.entries(labels).every(([key, value]) => spec.labels[key] === value))
      .map(({ id, spec, state }) => ({
        id,
        name: spec.name,
        image: spec.image,
        labels: { ...spec.labels },
        state,
      }));
  }

  events(abort: AbortSignal): AsyncIterable<ContainerEvent> {
    const either = AbortSignal.any([abort, this.#closed.signal]);
    if (either.aborted) return untilAborted([], either);
    return untilAborted(on(this.#emitter, 'event', { signal: either }), either);
  }

  pathInside(mounts: readonly Mount[], path: string): string {
    return translatePaths(mounts, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    for (const entry of this.#entries.values()) {
      entry.checkEvery?.(0);
      entry.output.close();
      entry.ended.promise.catch(() => undefined);
      entry.ended.reject(new EngineError('unavailable', 'The engine was closed; open it again to wait on.'));
    }
    this.#entries.clear();
  }

  #killNow(entry: Entry): void {
    killAll(entry.pid!, CONTAINER_MARK, entry.id);
    entry.checkEvery?.(KILLED_CHECK_MS);
  }

  #remember(id: string, dir: string, spec: CompleteSpec): Entry {
    const ended = Promise.withResolvers<ContainerExit>();
    const entry: Entry = { id, dir, spec, state: 'created', output: new OutputFiles(dir), ended };
    this.#entries.set(id, entry);
    return entry;
  }

  #watchAdopted(entry: Entry, startTime: string): void {
    const look = () => {
      if (existsSync(join(entry.dir, 'exit')) || startTimeOf(entry.pid!) !== startTime) this.#finish(entry);
    };
    let timer: NodeJS.Timeout | undefined;
    entry.checkEvery = (ms) => {
      clearInterval(timer);
      timer = ms ? setInterval(look, ms).unref() : undefined;
    };
    entry.checkEvery(ADOPTED_CHECK_MS);
    entry.output.watch((name) => name === 'exit' && look());
    look();
  }

  /** The supervisor is gone: what it left running goes too, as it would with a container's first process. */
  #finish(entry: Entry, observed?: number): void {
    if (entry.state === 'exited' || this.#entries.get(entry.id) !== entry) return;
    entry.state = 'exited';
    entry.checkEvery?.(0);
    killAll(entry.pid!, CONTAINER_MARK, entry.id);

    const file = join(entry.dir, 'exit');
    // Without the file the supervisor was killed together with the rest, or before it could write.
    if (!existsSync(file)) writeFileSync(file, `${observed ?? 137}\n`);
    const exitCode = Number(readFileSync(file, 'utf8'));
    entry.output.end();
    const outOfMemory =
      exitCode !== 0 &&
      entry.spec.memoryBytes !== undefined &&
      LOOKS_OUT_OF_MEMORY.test(entry.output.stderrTail(STDERR_TAIL_BYTES));
    const signalName = signalOf(exitCode);

    entry.ended.resolve({
      exitCode,
      ...(signalName ? { signal: signalName } : {}),
      outOfMemory,
      finishedAt: statSync(file).mtime,
    });
    if (outOfMemory) this.#emit(entry, 'oom');
    this.#emit(entry, 'die', exitCode);
  }

  #emit({ id, spec }: Entry, kind: ContainerEvent['kind'], exitCode = 0): void {
    const common = { id, name: spec.name, labels: { ...spec.labels }, time: new Date() };
    this.#emitter.emit('event', kind === 'die' ? { kind, ...common, exitCode } : { kind, ...common });
  }

  /** Nothing of this process's own environment, which may hold secrets, but the way to programs. */
  #envOf(entry: Entry): Record<string, string> {
    const scratch = join(entry.dir, 'tmp');
    return {
      PATH: this.path,
      LANG: 'C.UTF-8',
      HOME: scratch,
      TMPDIR: scratch,
      ...translateEnv(mountsOf(entry), entry.spec.env),
      ...deviceEnv(entry.spec.devices, this.isolated),
      [CONTAINER_MARK]: entry.id,
    };
  }

  #running(id: string): Entry {
    const entry = this.#entry(id);
    if (entry.state !== 'running') throw new EngineError('conflict', `Container ${id} does not run.`);
    return entry;
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (!entry) throw notFound(id);
    return entry;
  }
}

/** The scratch is a mount like any other. */
function mountsOf({ spec, dir }: Entry): Mount[] {
  return [...spec.mounts, { source: join(dir, 'tmp'), target: '/tmp', readOnly: false }];
}

function translateEnv(
  mounts: readonly Mount[],
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries(env).map(([key, value]) => [key, translatePaths(mounts, value)]));
}

function notFound(id: string): EngineError {
  return new EngineError('not_found', `There is no container ${JSON.stringify(id)}.`);
}

const noBuilds = () =>
  new EngineError('unsupported', 'The process engine cannot build images; install Docker to use them.');

function noImages(image: string): EngineError {
  return new EngineError(
    'not_found',
    `There is no image ${image}: the process engine has only ${BASE_IMAGE}, which means this host. Install Docker to use images.`,
    { field: 'image' },
  );
}

/** The interpreter itself rather than a version manager's wrapper, which is slow and wants its user's home. */
async function findPython(hostPath: string): Promise<string | undefined> {
  try {
    const script = 'import sys; print(sys.executable)';
    const { stdout } = await promisify(execFile)('python3', ['-c', script], {
      env: { ...process.env, PATH: hostPath },
      timeout: 10_000,
    });
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

async function linkPrograms(dir: string, programs: Record<string, string>): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const [name, target] of Object.entries(programs)) {
    await unlink(join(dir, name)).catch(() => undefined);
    await symlink(target, join(dir, name));
  }
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

async function* untilAborted(
  source: AsyncIterable<ContainerEvent[]> | Iterable<ContainerEvent[]>,
  abort: AbortSignal,
): AsyncGenerator<ContainerEvent> {
  try {
    for await (const [event] of source) yield event!;
  } catch (error) {
    if (!abort.aborted) throw error;
  }
}
