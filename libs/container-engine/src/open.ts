import { EngineError, type ContainerEngine, type EngineKind } from './engine';

export interface EngineOptions {
  /** Where the engine keeps what must outlive this process (the process engine's logs and states). */
  stateDir: string;
  /** Whose containers these are: one word per platform. Others' containers are invisible. Default `berth`. */
  owner?: string;
  /** `unix:///path` or `tcp://host:port`. Default: `/var/run/docker.sock`. */
  dockerHost?: string;
}

/** `auto` is docker where a Docker Engine answers, else process. Errors say what to do. */
export async function openEngine(
  kind: EngineKind | 'auto',
  options: EngineOptions,
): Promise<ContainerEngine> {
  void options;
  throw new EngineError('unsupported', `The ${kind} engine is not built yet.`);
}
