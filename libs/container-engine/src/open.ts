import { openDocker } from './docker/docker-engine';
import { EngineError, type ContainerEngine, type EngineKind } from './engine';
import { openProcess } from './process/process-engine';

export interface EngineOptions {
  /** Where the engine keeps what must outlive this process (the process engine's logs and states). */
  stateDir: string;
  /** Whose containers these are: one word per platform. Others' containers are invisible. Default `berth`. */
  owner?: string;
  /** `unix:///path` or `tcp://host:port`. Default: `unix:///var/run/docker.sock`. */
  dockerHost?: string;
  /** Where the process engine finds programs. Default: this process's own PATH. */
  hostPath?: string;
}

const DOCKER_HOST_DEFAULT = 'unix:///var/run/docker.sock';

/**
 * `auto` is docker where a Docker Engine answers, else process. Throws `unavailable` where `docker` was asked for
 * and none answers. Where `isolated` is false, show `PROCESS_ENGINE_WARNING`.
 */
export async function openEngine(
  kind: EngineKind | 'auto',
  {
    stateDir,
    owner = 'berth',
    dockerHost = DOCKER_HOST_DEFAULT,
    hostPath = process.env.PATH ?? '',
  }: EngineOptions,
): Promise<ContainerEngine> {
  if (!/^[\w.-]{1,63}$/.test(owner)) {
    throw new EngineError('invalid', 'owner must be letters, digits, "_", "." or "-".', { field: 'owner' });
  }
  if (kind === 'process') return openProcess(stateDir, owner, hostPath);
  try {
    return await openDocker(dockerHost, owner);
  } catch (error) {
    const absent = error instanceof EngineError && error.kind === 'unavailable';
    // An engine that answers with a fault is not absent: going on without isolation would hide that.
    if (kind === 'auto' && absent) return openProcess(stateDir, owner, hostPath);
    if (!absent) throw error;
    throw new EngineError(
      'unavailable',
      `No Docker Engine answers at ${dockerHost}. Start dockerd (Debian: apt install docker.io), or set BERTH_ENGINE=process to run without isolation.`,
      { cause: error },
    );
  }
}
