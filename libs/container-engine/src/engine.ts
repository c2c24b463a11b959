import type { Readable, Writable } from 'node:stream';

export type EngineKind = 'docker' | 'process';

/**
 * Runs containers on this machine. Every engine passes the same conformance suite (`test/conformance.ts`), so
 * whoever uses one need not know which it is; what only isolation can give is told by `isolated`.
 *
 * An id is what `create` returned. Every method that takes one throws `EngineError('not_found')` for an id this
 * engine does not know, except `remove`, for which being gone is success. An engine sees only the containers of
 * its own `owner`, so several platforms can share one machine. Disposing the engine closes its connections and
 * leaves the containers as they are.
 */
export interface ContainerEngine extends AsyncDisposable {
  readonly kind: EngineKind;
  /** Whether containers are kept from each other and from the host: only then may tenants share a node. */
  readonly isolated: boolean;

  describe(): Promise<EngineDescription>;

  hasImage(image: string): Promise<boolean>;
  /** Makes `image` present. Costs one look-up where it already is. */
  pull(image: string, options?: PullOptions): Promise<void>;
  /** Builds an image and resolves to its reference, `request.tag`. A failed build leaves no tag behind. */
  build(request: BuildRequest, options?: BuildOptions): Promise<string>;
  /** What the engine knows of an image, by its name or its id; undefined where it has none. */
  findImage(image: string): Promise<ImageSummary | undefined>;
  /** Gives an image a further name, which some other image may have had before. */
  tagImage(image: string, tag: string): Promise<void>;
  /** Takes a name away, and with the last one the image. Throws `conflict` while a container uses it. Safe to repeat. */
  removeImage(image: string): Promise<void>;

  /** Makes a container ready to start; resolves to its id. A bad spec throws `invalid` before any effect. */
  create(spec: ContainerSpec): Promise<string>;
  /** Resolves when the command runs. Starting one that runs already is success. */
  start(id: string): Promise<void>;
  /** Runs a further process in a running container, as the container's user and in its limits. */
  exec(id: string, request: ExecRequest): Promise<ExecSession>;
  /** What the container's processes wrote, oldest first. With `follow` it ends when the container does. */
  logs(id: string, options?: LogOptions): AsyncIterable<LogChunk>;
  stats(id: string): Promise<ContainerStats>;
  /**
   * Whether nothing in it can run until somebody lets it: it is paused, or each of its processes is stopped (SIGSTOP, a
   * debugger). False for what merely waits or computes, and for one that does not run.
   */
  isFrozen(id: string): Promise<boolean>;
  /** SIGTERM, then SIGKILL to everything in it after `graceSeconds`; resolves when it has exited. */
  stop(id: string, graceSeconds: number): Promise<void>;
  /** SIGKILL to everything in it; resolves when it has exited. */
  kill(id: string): Promise<void>;
  /** Kills it if it runs, then takes container, logs and scratch away. Safe to repeat. */
  remove(id: string): Promise<void>;
  /** Resolves when the container has exited, or at once if it has; before its start it waits for both. */
  wait(id: string): Promise<ContainerExit>;
  /** The owner's containers that carry all of `labels`. Survives a restart of whoever opened the engine. */
  list(labels?: Record<string, string>): Promise<ContainerSummary[]>;
  /** What happens to the owner's containers from this call on, until `signal` aborts. */
  events(signal: AbortSignal): AsyncIterable<ContainerEvent>;

  /**
   * The path under which a container's processes find `path`. The same path where there is a mount namespace;
   * the process engine has none, so there `/berth/source/x` becomes the mount's source on the host. `create` and
   * `exec` already do this to `command`, `env` and `cwd`: this is for paths sent by other ways, such as a socket.
   */
  pathInside(mounts: readonly Mount[], path: string): string;
}

export interface EngineDescription {
  kind: EngineKind;
  isolated: boolean;
  /** Of the engine: `20.10.24`, or of the host's kernel for the process engine. */
  version: string;
  /** What starts the processes: `runc`, `nvidia`, `host`. */
  runtime: string;
  operatingSystem: string;
  /** As in image references: `amd64`, `arm64`. */
  architecture: string;
  cgroups: 1 | 2 | 'none';
  cpus: number;
  memoryBytes: number;
}

/** All that a container is. Everything left out has the default named beside it. */
export interface ContainerSpec {
  /** Unique on the machine: letters, digits, `_`, `.`, `-`. A name in use throws `conflict`. */
  name: string;
  image: string;
  /** Program and arguments, without a shell. Replaces the image's entry point. */
  command: readonly string[];
  env?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  mounts?: readonly Mount[];
  /** An absolute path in the container. Default `/tmp`. */
  cwd?: string;
  /** Default 65534:65534, nobody. The process engine runs everything as its own user. */
  user?: { uid: number; gid: number };
  /** Limit of memory and swap together. Default: none. */
  memoryBytes?: number;
  /** Limit in cores, `0.5` is half of one. Default: none. The process engine cannot enforce it. */
  cpus?: number;
  /** Limit of processes and threads. Default 1024. The process engine cannot enforce it. */
  pidsMax?: number;
  devices?: readonly Device[];
  /** `bridge`: reaches out, is reached by no other container. `none`: loopback only. Default `bridge`. */
  network?: 'bridge' | 'none';
  /** Default true: only mounts and `/tmp` can be written. */
  readOnlyRoot?: boolean;
  /** Size of the scratch at `/tmp`, in memory and counted against `memoryBytes`. Default 64 MiB. */
  scratchBytes?: number;
}

export interface Mount {
  /** An existing absolute path on the host. */
  source: string;
  /** An absolute path in the container. */
  target: string;
  readOnly: boolean;
}

/** One GPU card. A simulated one is only told to the process by `BERTH_SIMULATED_GPU`; none is attached. */
export interface Device {
  kind: 'gpu';
  /** The card's number on this host, as `nvidia-smi` counts. */
  index: number;
  /** Preferred over `index` where known, for numbers can change over a reboot. */
  uuid?: string;
  simulated: boolean;
}

export interface ExecRequest {
  command: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Default: the container's. */
  cwd?: string;
  user?: { uid: number; gid: number };
  /** A terminal: one stream of output (`stdout`), and `resize` works. */
  tty?: boolean;
  /** Size of that terminal at its start. Default 80 by 24. */
  columns?: number;
  rows?: number;
  /** Whether `stdin` is written to; without it the process reads an end of file. */
  stdin?: boolean;
}

export interface ExecSession {
  /** Ending it gives the process an end of file. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Ends at once where there is a terminal. */
  readonly stderr: Readable;
  /** Resolves when the process has ended and its output was read or discarded. Above 128: by a signal. */
  readonly exit: Promise<{ exitCode: number }>;
  /** Throws `invalid` where there is no terminal. */
  resize(columns: number, rows: number): Promise<void>;
  /** SIGKILL to the process and what it started. Safe to repeat. */
  kill(): Promise<void>;
}

export interface LogOptions {
  follow?: boolean;
  /** Only what was written at this time or later. */
  since?: Date;
  signal?: AbortSignal;
}

/** A piece of output, mostly a line with its end of line. Long lines come in several. */
export interface LogChunk {
  stream: 'stdout' | 'stderr';
  data: Buffer;
  time: Date;
}

/** Of everything in the container together. */
export interface ContainerStats {
  /** Processor time used since its start. */
  cpuNanos: bigint;
  /** In use now, without what the kernel can take back at once (page cache). */
  memoryBytes: number;
  /** 0: no limit. */
  memoryLimitBytes: number;
  pids: number;
}

export interface ContainerExit {
  /** 128 + n where signal n ended it. */
  exitCode: number;
  /** The signal that ended it, where one did. */
  signal?: NodeJS.Signals;
  /**
   * Whether the memory limit killed a process in it: the first one, or a child that the first one may have
   * outlived. The process engine cannot see the kernel's verdict and says true for what looks like it.
   */
  outOfMemory: boolean;
  finishedAt: Date;
}

export type ContainerState = 'created' | 'running' | 'exited';

export interface ContainerSummary {
  id: string;
  name: string;
  image: string;
  labels: Record<string, string>;
  state: ContainerState;
}

/** `oom`: the memory limit killed a process in it, which need not end the container. */
export type ContainerEvent =
  | { kind: 'start' | 'oom'; id: string; name: string; labels: Record<string, string>; time: Date }
  | { kind: 'die'; id: string; name: string; labels: Record<string, string>; time: Date; exitCode: number };

export interface ImageSummary {
  id: string;
  /** Its names; none for a layer that only other images have. */
  tags: string[];
  /** With all its layers, those that it shares included. */
  bytes: number;
  /** Instructions that a build which begins with it would run. */
  onBuild: string[];
}

export interface PullOptions {
  /** For the registry that the image is in. */
  auth?: { username: string; password: string };
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface BuildRequest {
  /** Text of a Containerfile. */
  containerfile: string;
  /** A folder whose files `COPY` can name. Default: none. */
  contextDir?: string;
  /** Further folders, by the names under which `COPY` finds them. */
  contextFolders?: Readonly<Record<string, string>>;
  /** Further files, by name. */
  contextFiles?: Readonly<Record<string, string | Buffer>>;
  tag: string;
  buildArgs?: Readonly<Record<string, string>>;
  /** Limit of memory and swap together, of each command. Default: none. */
  memoryBytes?: number;
  /** Limit in cores, of each command. Default: none. */
  cpus?: number;
}

export interface BuildOptions {
  /** A line of the engine or of a command. The build waits for it: whoever is slow is not overrun. */
  onLog?: (line: string) => unknown;
  /** An instruction begins; `index` counts from 0. */
  onInstruction?: (index: number, text: string) => unknown;
  /** A layer is finished, or was found in the cache. It has no name: what a failed build leaves is the caller's to remove. */
  onLayer?: (id: string) => unknown;
  signal?: AbortSignal;
}

/**
 * What went wrong, by what the caller can do about it:
 * `invalid` change the request · `not_found` no such container or image · `conflict` the name is taken or the
 * state forbids it · `unavailable` the engine does not answer, try again · `unsupported` this engine cannot ·
 * `failed` the engine tried and could not.
 */
export type EngineErrorKind = 'invalid' | 'not_found' | 'conflict' | 'unavailable' | 'unsupported' | 'failed';

export class EngineError extends Error {
  override readonly name = 'EngineError';
  /** The part of the request at fault, such as `mounts[0].source`. */
  readonly field?: string;

  constructor(
    readonly kind: EngineErrorKind,
    message: string,
    options: { field?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.field = options.field;
  }
}

/** A build that the engine tried and that did not succeed. */
export class BuildError extends EngineError {
  constructor(
    message: string,
    /** In the engine's words. */
    readonly reason: string,
    /** Of the command that failed, where one did. */
    readonly exitCode: number | undefined,
    /** Whether the memory limit killed something in it. */
    readonly outOfMemory: boolean,
  ) {
    super('failed', message);
  }
}
