/** Small services that speak the real contracts over real gRPC, for what functions asks of its peers. */
import { newId } from '@berth/database';
import {
  Container,
  ContainerState,
  Node,
  NodeState,
  SchedulerServiceService,
  type SetWishRequest,
} from '@berth/contracts/scheduler/v1/scheduler';
import { SyncServiceService, type TreeEntry } from '@berth/contracts/sync/v1/sync';
import { VolumeServiceService } from '@berth/contracts/sync/v1/volume';
import { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { encodeContainerEvent } from '@berth/events';
import {
  BerthError,
  defineService,
  implement,
  workspaceOf,
  type CallContext,
  type HandlersOf,
  type ServiceModule,
  type ServiceShape,
} from '@berth/service-kit';
import type { TestBed } from '@berth/testing';

type Bound = ReturnType<typeof implement>;

function some<S extends ServiceShape>(definition: S, handlers: Partial<HandlersOf<S>>): Bound {
  const refuse = () => Promise.reject(new BerthError('unimplemented', 'This stand-in does not do this.'));
  const all = Object.keys(definition).map((rpc) => [rpc, handlers[rpc as keyof S] ?? refuse]);
  return implement(definition, Object.fromEntries(all) as HandlersOf<S>);
}

const standInOf = (name: string, ...services: Bound[]): ServiceModule =>
  defineService(name, async () => ({ services, async [Symbol.asyncDispose]() {} }));

const standIn = <S extends ServiceShape>(name: string, definition: S, handlers: Partial<HandlersOf<S>>) =>
  standInOf(name, some(definition, handlers));

/** Knows `main` and `prod` in every workspace, with a secret named after each. */
export const workspaceStandIn = standInOf(
  'workspace',
  some(WorkspaceServiceService, {
    getEnvironment: async ({ name }) => {
      if (!['', 'main', 'prod'].includes(name)) {
        throw new BerthError('not_found', 'No such environment.', { field: 'name' });
      }
      return { environment: { environmentId: newId('en'), name: name || 'main', createdAt: new Date() } };
    },
  }),
  some(SecretServiceService, {
    findMissingSecrets: async ({ environment, names }) => ({
      missing: names.filter((name) => name !== environment),
    }),
  }),
);

/** Keeps trees in memory, by workspace; the same files are the same tree. While `faults.away` it gives none. */
export function syncStandIn(faults = { away: false, refused: 0 }): ServiceModule {
  const trees = new Map<string, { workspaceId: string; entries: TreeEntry[]; files?: string }>();
  const treeOf = (treeId: string) => ({
    tree: { treeId, entries: trees.get(treeId)!.entries, contentHash: '', createdAt: new Date() },
  });
  const chunksAndTrees = some(SyncServiceService, {
    createTreeFromFiles: async ({ files }, call: CallContext) => {
      const workspaceId = workspaceOf(call);
      const text = JSON.stringify(Object.entries(files).sort());
      for (const [treeId, tree] of trees) {
        if (tree.workspaceId === workspaceId && tree.files === text) return treeOf(treeId);
      }
      const treeId = newId('tr');
      const entries = Object.keys(files).map((path) => ({ path, executable: false, size: 0n, chunks: [] }));
      trees.set(treeId, { workspaceId, entries: entries as never, files: text });
      return treeOf(treeId);
    },
    getTree: async ({ treeId, workspaceId }, call: CallContext) => {
      if (faults.away) {
        faults.refused++;
        throw new BerthError('unavailable', 'away');
      }
      if (trees.get(treeId)?.workspaceId !== (workspaceId || workspaceOf(call))) {
        throw new BerthError('not_found', 'No such tree.', { field: 'tree_id' });
      }
      return treeOf(treeId);
    },
  });
  // A volume named after each environment.
  const volumes = some(VolumeServiceService, {
    findMissingVolumes: async ({ environment, names }) => ({
      missing: names.filter((name) => name !== environment),
    }),
  });
  return standInOf('sync', chunksAndTrees, volumes);
}

/** A scheduler with one container for each that is wished for; tests say what becomes of them. */
export class SchedulerStandIn {
  readonly wishes: SetWishRequest[] = [];
  readonly containers = new Map<string, Container>();
  /** Of the nodes that are there. */
  engines = ['docker'];
  /** Refuses wishes, as a scheduler does that is away. */
  away = false;

  constructor(private readonly bed: () => TestBed) {}

  readonly module = standIn('scheduler', SchedulerServiceService, {
    setWish: async (wish) => {
      if (this.away) throw new BerthError('unavailable', 'away');
      this.wishes.push(wish);
      const live = [...this.containers.values()].filter((each) => this.owns(wish.owner, each));
      for (let missing = wish.containers - live.length; missing > 0; missing--) {
        const container = Container.fromPartial({
          containerId: newId('ta'),
          functionId: wish.spec!.functionId,
          version: wish.spec!.version,
          state: ContainerState.CONTAINER_STATE_PENDING,
          reason: 'No node has such a card.',
        });
        this.containers.set(container.containerId, container);
        if (wish.spec!.shell) this.shells.set(container.containerId, wish.owner);
        live.push(container);
      }
      return { containers: live };
    },
    listNodes: async () => ({
      data: this.engines.map((engine) =>
        Node.fromPartial({ nodeId: newId('no'), engine, state: NodeState.NODE_STATE_READY }),
      ),
      nextCursor: '',
    }),
    listContainers: async ({ functionId }) => ({
      data: [...this.containers.values()].filter((each) => each.functionId === functionId),
      nextCursor: '',
    }),
  });

  /** Of shells' containers; any other is its version's. */
  private readonly shells = new Map<string, string>();

  private owns = (owner: string, { containerId, functionId, version }: Container) =>
    owner === (this.shells.get(containerId) ?? `${functionId}/${version}`);

  wishOf(functionId: string, version = 1): SetWishRequest | undefined {
    return this.wishes.filter(({ owner }) => owner === `${functionId}/${version}`).at(-1);
  }

  containersOf(functionId: string): Container[] {
    return [...this.containers.values()].filter((each) => each.functionId === functionId);
  }

  /** What the real one records and says. */
  async become(container: Container, state: ContainerState, changes: Partial<Container> = {}): Promise<void> {
    const changed = { ...container, state, ...changes };
    const live = [ContainerState.CONTAINER_STATE_PENDING, ContainerState.CONTAINER_STATE_READY];
    if (live.includes(state)) this.containers.set(container.containerId, changed);
    else this.containers.delete(container.containerId);
    const { subject, payload } = encodeContainerEvent(changed);
    await this.bed().bus.jetstream.publish(subject, payload);
  }
}
