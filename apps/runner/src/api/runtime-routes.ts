/**
 * What a runner itself does for the containers that it runs, under `/runtime/…` on their sockets. A part of the runner
 * that offers something registers it here; no other path of a socket reaches the runner's own code.
 */
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';

export interface RuntimeRequest {
  /** The container that asks: the socket is its own, so nobody else can. */
  containerId: string;
  spec: ContainerSpec;
  /** Of the path, decoded. User code chose them. */
  params: Record<string, string>;
  /** The JSON of the body; undefined for an empty one. */
  body: unknown;
  /** Aborted when the container has gone, or has hung up. */
  signal: AbortSignal;
}

export interface RuntimeRoute {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `/runtime/volumes/{name}/commit` */
  path: `/runtime/${string}`;
  /** Gives the JSON document to answer with; undefined: there is none (204). Errors: BerthError, as it is to be shown. */
  handle(request: RuntimeRequest): Promise<unknown>;
}

export class RuntimeRoutes {
  readonly #routes: { route: RuntimeRoute; pattern: RegExp }[] = [];

  /** Names in braces take one segment of the path. */
  add(route: RuntimeRoute): void {
    const pattern = route.path.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{(\w+)\}/g, '(?<$1>[^/]+)');
    this.#routes.push({ route, pattern: new RegExp(`^${pattern}$`) });
  }

  /** Undefined where nothing is offered there. */
  find(method: string, path: string): { route: RuntimeRoute; params: Record<string, string> } | undefined {
    for (const { route, pattern } of this.#routes) {
      const found = route.method === method ? pattern.exec(path) : null;
      if (!found) continue;
      const params = Object.entries(found.groups ?? {}).map(
        ([name, value]) => [name, decoded(value)] as const,
      );
      if (params.some(([, value]) => value === undefined)) return undefined;
      return { route, params: Object.fromEntries(params) as Record<string, string> };
    }
    return undefined;
  }
}

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
