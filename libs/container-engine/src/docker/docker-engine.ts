import { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import { inspect } from 'node:util';

import Docker from 'dockerode';

import {
  EngineError,
  type BuildOptions,
  type BuildRequest,
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
  type PullOptions,
} from '../engine';
import { areStopped } from '../frozen';
import { checkExec, completeSpec } from '../validate-spec';
import { buildImage, findImage, pullImage, removeImage, tagImage } from './docker-images';
import { createBody, OWNER_LABEL, type DockerHost } from './create-body';
import { toEngineError } from './docker-error';
import { dockerExec } from './docker-exec';
import { EventFeed } from './event-feed';
import { ExitWatch } from './exit-watch';
import { readFrames, splitTimestamp } from './frames';
import { ensureNetwork } from './network';

/** What the modem takes, and its types leave out. */
type DockerOptions = Docker.DockerOptions & { agent: Agent };

/**
 * Docker's client describes the options of every request for a log that is off, all that the agent holds included: 20 ms
 * of processor time each (docker-modem 5.0.7), a fifth of a cold start. This one describes itself in a word.
 */
class TerseAgent extends Agent {
  [inspect.custom](): string {
    return 'Agent';
  }
}

/** A connection to a Docker Engine that keeps its sockets open between requests. */
export function connectDocker(dockerHost: string): { docker: Docker; agent: Agent } {
  const agent = new TerseAgent({ keepAlive: true });
  const [, scheme, rest] = /^(unix|tcp|http):\/\/(.+)$/.exec(dockerHost) ?? [];
  if (scheme === 'unix') return { docker: new Docker({ socketPath: rest, agent } as DockerOptions), agent };
  const [, host, port] = /^([^:/]+|\[[0-9a-f:]+\]):(\d+)\/?$/i.exec(rest ?? '') ?? [];
  if (!host || !port) {
    throw new EngineError('invalid', 'The Docker host must be unix:///path or tcp://host:port.', {
      field: 'dockerHost',
    });
  }
  return {
    docker: new Docker({ protocol: 'http', host, port: Number(port), agent } as DockerOptions),
    agent,
  };
}

/** Throws `unavailable` where no engine answers. */
export async function openDocker(dockerHost: string, owner: string): Promise<ContainerEngine> {
  const { docker, agent } = connectDocker(dockerHost);
  try {
    const info = (await docker.info()) as DockerInfo;
    const host: DockerHost = { owner, networkId: await ensureNetwork(docker), gpuDriver: gpuDriverOf(info) };
    const feed = new EventFeed(docker, owner, BigInt(Date.parse(info.SystemTime)) * 1_000_000n);
    await feed.open();
    return new DockerEngine(docker, agent, host, info, feed);
  } catch (error) {
    agent.destroy();
    throw toEngineError(error, `open the Docker Engine at ${dockerHost}`);
  }
}

interface DockerInfo {
  ServerVersion: string;
  DefaultRuntime: string;
  OperatingSystem: string;
  Architecture: string;
  CgroupVersion?: string;
  NCPU: number;
  MemTotal: number;
  SystemTime: string;
  Runtimes?: Record<string, unknown>;
  CDISpecDirs?: string[] | null;
}

/** NVIDIA's own runtime where it is installed, else the container device interface where the engine has it. */
function gpuDriverOf({ Runtimes, CDISpecDirs }: DockerInfo): DockerHost['gpuDriver'] {
  return !Runtimes?.nvidia && CDISpecDirs?.length ? 'cdi' : 'nvidia';
}

class DockerEngine implements ContainerEngine {
  readonly kind = 'docker';
  readonly isolated = true;
  readonly #exits: ExitWatch;
  readonly #imageVolumes = new Map<string, readonly string[]>();

  constructor(
    private readonly docker: Docker,
    private readonly agent: Agent,
    private host: DockerHost,
    private readonly info: DockerInfo,
    private readonly feed: EventFeed,
  ) {
    this.#exits = new ExitWatch(docker, feed);
  }

  async describe(): Promise<EngineDescription> {
    const { ServerVersion, DefaultRuntime, OperatingSystem, Architecture, CgroupVersion, NCPU, MemTotal } =
      this.info;
    return {
      kind: this.kind,
      isolated: this.isolated,
      version: ServerVersion.replace(/\+.*/, ''),
      runtime: DefaultRuntime,
      operatingSystem: OperatingSystem,
      architecture: ARCHITECTURES[Architecture] ?? Architecture,
      cgroups: CgroupVersion === '2' ? 2 : 1,
      cpus: NCPU,
      memoryBytes: MemTotal,
    };
  }

  async hasImage(image: string): Promise<boolean> {
    try {
      await this.docker.getImage(image).inspect();
      return true;
    } catch (error) {
      const failure = toEngineError(error, `look for image ${image}`);
      if (failure.kind === 'not_found') return false;
      throw failure;
    }
  }

  async pull(image: string, options: PullOptions = {}): Promise<void> {
    if (await this.hasImage(image)) return;
    this.#imageVolumes.delete(image);
    await pullImage(this.docker, image, options);
  }

  build(request: BuildRequest, options: BuildOptions = {}): Promise<string> {
    this.#imageVolumes.delete(request.tag);
    return buildImage(this.docker, this.host.networkId, request, options);
  }

  findImage(image: string): Promise<ImageSummary | undefined> {
    return findImage(this.docker, image);
  }

  async tagImage(image: string, tag: string): Promise<void> {
    await tagImage(this.docker, image, tag);
  }

  async removeImage(image: string): Promise<void> {
    this.#imageVolumes.delete(image);
    await removeImage(this.docker, image);
  }

  async create(spec: ContainerSpec): Promise<string> {
    const complete = completeSpec(spec);
    const make = async () => {
      const volumes = await this.#volumesOf(complete.image);
      return (await this.docker.createContainer(createBody(complete, this.host, volumes))).id;
    };
    try {
      return await make();
    } catch (error) {
      const failure = toEngineError(error, `create container ${spec.name}`);
      if (failure.kind !== 'not_found' || !/no such image/i.test(failure.message)) throw failure;
      throw new EngineError('not_found', `There is no image ${spec.image} here; pull or build it first.`, {
        field: 'image',
        cause: error,
      });
    }
  }

  async start(id: string): Promise<void> {
    try {
      await this.#container(id).start();
    } catch (error) {
      if (isAlreadySo(error)) return;
      if (!/network .* not found/i.test(String(error)))
        throw toEngineError(error, `start container ${short(id)}`);
      // Someone pruned the network; the next containers get a new one.
      this.host = { ...this.host, networkId: await ensureNetwork(this.docker) };
      throw new EngineError('failed', `The network of container ${short(id)} was removed; create it anew.`, {
        cause: error,
      });
    }
  }

  async exec(id: string, request: ExecRequest): Promise<ExecSession> {
    checkExec(request);
    this.#container(id);
    return dockerExec(this.docker, this.feed, id, request);
  }

  async *logs(id: string, { follow = false, since, signal }: LogOptions = {}): AsyncGenerator<LogChunk> {
    this.#container(id);
    let stream: Readable | undefined;
    try {
      stream = await this.#openLog(id, { follow, since, signal });
      for await (const frame of readFrames(stream))
        yield { stream: frame.stream, ...splitTimestamp(frame.data) };
    } catch (error) {
      if (!signal?.aborted) throw toEngineError(error, `read the log of container ${short(id)}`);
    } finally {
      stream?.destroy();
    }
  }

  async stats(id: string): Promise<ContainerStats> {
    try {
      // one-shot: without it the engine first takes a second reading for a second.
      const stats = await this.#container(id).stats({ stream: false, 'one-shot': true } as { stream: false });
      const { usage, limit, stats: parts } = stats.memory_stats;
      if (usage === undefined) {
        throw new EngineError(
          'conflict',
          `Container ${short(id)} does not run, so it uses nothing to measure.`,
        );
      }
      const reclaimable = parts?.total_inactive_file ?? parts?.inactive_file ?? 0;
      return {
        cpuNanos: BigInt(stats.cpu_stats.cpu_usage.total_usage),
        memoryBytes: Math.max(0, usage - reclaimable),
        // Without a limit of its own a container's is the whole machine.
        memoryLimitBytes: limit >= this.info.MemTotal ? 0 : limit,
        pids: stats.pids_stats?.current ?? 0,
      };
    } catch (error) {
      throw toEngineError(error, `measure container ${short(id)}`);
    }
  }

  async isFrozen(id: string): Promise<boolean> {
    const container = this.#container(id);
    try {
      const { State: state } = await container.inspect();
      if (state.Paused || !state.Running) return state.Paused;
      const { Processes: rows } = (await container.top({ ps_args: '-eo pid,stat' })) as {
        Processes: [string, string][];
      };
      // The init process is Docker's and only waits; what has ended needs no processor.
      const states = rows.filter(([pid]) => Number(pid) !== state.Pid).map(([, stat]) => stat);
      return areStopped(states);
    } catch (error) {
      // 409: it ended between the two questions.
      if ((error as { statusCode?: number }).statusCode === 409) return false;
      throw toEngineError(error, `look at container ${short(id)}`);
    }
  }

  async stop(id: string, graceSeconds: number): Promise<void> {
    const container = this.#container(id);
    this.#exits.markKilled(id);
    try {
      await container.stop({ t: Math.max(0, Math.ceil(graceSeconds)) });
    } catch (error) {
      if (!isAlreadySo(error)) throw toEngineError(error, `stop container ${short(id)}`);
    }
  }

  async kill(id: string): Promise<void> {
    const container = this.#container(id);
    this.#exits.markKilled(id);
    try {
      await container.kill({ signal: 'SIGKILL' });
    } catch (error) {
      const failure = toEngineError(error, `kill container ${short(id)}`);
      if (failure.kind === 'conflict') return; // It does not run.
      throw failure;
    }
    await this.wait(id);
  }

  async remove(id: string): Promise<void> {
    if (!isId(id)) return;
    this.#exits.markKilled(id);
    try {
      await this.docker.getContainer(id).remove({ force: true, v: true });
    } catch (error) {
      const failure = toEngineError(error, `remove container ${short(id)}`);
      const underWay = failure.kind === 'conflict' && /already in progress/.test(failure.message);
      if (failure.kind !== 'not_found' && !underWay) throw failure;
    }
  }

  async wait(id: string): Promise<ContainerExit> {
    this.#container(id);
    return this.#exits.wait(id);
  }

  async list(labels: Record<string, string> = {}): Promise<ContainerSummary[]> {
    const wanted = { ...labels, [OWNER_LABEL]: this.host.owner };
    try {
      const found = await this.docker.listContainers({
        all: true,
        filters: { label: Object.entries(wanted).map(([key, value]) => `${key}=${value}`) },
      });
      return found.map(({ Id, Names, Image, Labels, State }) => ({
        id: Id,
        name: Names[0]?.replace(/^\//, '') ?? '',
        image: Image,
        labels: withoutOwner(Labels),
        state: STATES[State] ?? 'exited',
      }));
    } catch (error) {
      throw toEngineError(error, 'list containers');
    }
  }

  events(signal: AbortSignal): AsyncIterable<ContainerEvent> {
    return toContainerEvents(this.feed.iterate(signal));
  }

  pathInside(_mounts: readonly Mount[], path: string): string {
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#exits.close();
    await this.feed.close();
    this.agent.destroy();
  }

  /** dockerode's own `logs` holds the whole log in memory where it does not follow. */
  #openLog(id: string, { follow, since, signal }: LogOptions): Promise<Readable> {
    return new Promise((resolve, reject) =>
      this.docker.modem.dial(
        {
          path: `/containers/${id}/logs?`,
          method: 'GET',
          isStream: true,
          abortSignal: signal,
          statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
          options: {
            follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            ...(since ? { since: since.getTime() / 1000 } : {}),
          },
        },
        (error: unknown, stream: unknown) => (error ? reject(error) : resolve(stream as Readable)),
      ),
    );
  }

  /** Where an image asks for folders of its own; asked once, for a name means the same until it is pulled or removed. */
  async #volumesOf(image: string): Promise<readonly string[]> {
    const known = this.#imageVolumes.get(image);
    if (known) return known;
    const { Config } = await this.docker.getImage(image).inspect();
    const volumes = Object.keys((Config?.Volumes as Record<string, unknown> | null) ?? {});
    this.#imageVolumes.set(image, volumes);
    return volumes;
  }

  /** Only whole ids reach the engine, which would also take a name or the start of someone else's id. */
  #container(id: string): Docker.Container {
    if (!isId(id)) throw new EngineError('not_found', `There is no container ${JSON.stringify(id)}.`);
    return this.docker.getContainer(id);
  }
}

const ARCHITECTURES: Record<string, string> = { x86_64: 'amd64', aarch64: 'arm64' };

const STATES: Record<string, ContainerState> = {
  created: 'created',
  running: 'running',
  paused: 'running',
  restarting: 'running',
};

function isId(id: string): boolean {
  return /^[0-9a-f]{64}$/.test(id);
}

function short(id: string): string {
  return id.slice(0, 12);
}

/** 304: it was started, or stopped, before. */
function isAlreadySo(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === 304;
}

function withoutOwner(labels: Record<string, string>): Record<string, string> {
  const { [OWNER_LABEL]: _owner, ...rest } = labels;
  return rest;
}

async function* toContainerEvents(source: ReturnType<EventFeed['iterate']>): AsyncGenerator<ContainerEvent> {
  for await (const { action, id, attributes, time } of source) {
    if (action !== 'start' && action !== 'oom' && action !== 'die') continue;
    const { name = '', image: _image, exitCode, ...labels } = withoutOwner(attributes);
    const common = { id, name, labels, time };
    yield action === 'die'
      ? { kind: action, ...common, exitCode: Number(exitCode) }
      : { kind: action, ...common };
  }
}
