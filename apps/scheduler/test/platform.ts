/** A scheduler on a bed of its own, with runners and owners that do what a test says. */
import {
  ContainerSpec,
  ContainerState,
  RegisterNodeRequest,
  ReportContainerRequest,
  SchedulerServiceService,
  SetWishRequest,
  type Container,
  type Node,
} from '@berth/contracts/scheduler/v1/scheduler';
import { newId, type Database } from '@berth/database';
import type { ClientOf, RunningService, ServiceModule } from '@berth/service-kit';
import { testBed, type TestBed } from '@berth/testing';

type Client = ClientOf<typeof SchedulerServiceService>;

export interface Tenant {
  organizationId: string;
  workspaceId: string;
}

export const aTenant = (fields: Partial<Tenant> = {}): Tenant => ({
  organizationId: newId('or'),
  workspaceId: newId('wo'),
  ...fields,
});

/** A fresh owner of containers: one version of one function of a tenant. */
export interface Owner {
  owner: string;
  spec: ContainerSpec;
}

export const anOwner = (tenant: Tenant, fields: Partial<ContainerSpec> = {}): Owner => {
  const functionId = newId('fu');
  const spec = ContainerSpec.fromPartial({
    ...tenant,
    appId: newId('ap'),
    functionId,
    version: 1,
    handler: 'main:run',
    image: 'berth/base:stable',
    source: newId('tr'),
    env: { GREETING: 'hello' },
    cpu: 1,
    memory: 256,
    timeout: 60,
    slots: 1,
    ...fields,
  });
  return { owner: `${functionId}/${spec.version}`, spec };
};

/** A runner's side: registers, hears, reports. */
export interface Runner {
  nodeId: string;
  incarnation: string;
}

export interface Platform {
  bed: TestBed;
  db: Database;
  functions: Client;
  runners: Client;
  gateway: Client;
  /** Ends the service and starts it again on the same record. */
  restart(): Promise<void>;
  wish(owner: Owner, containers: number, revision: number, idle?: string[]): Promise<Container[]>;
  /** A node that is the tenant's own, so that tests on one bed do not meet. */
  node(
    tenant: Tenant | undefined,
    fields?: Partial<RegisterNodeRequest> & { gpus?: string[] },
  ): Promise<Runner>;
  report(runner: Runner, containerId: string, state: ContainerState, fields?: object): Promise<void>;
  container(id: string): Promise<Container>;
  nodeOf(tenant: Tenant, nodeId: string): Promise<Node>;
}

export const STATE = {
  pending: ContainerState.CONTAINER_STATE_PENDING,
  assigned: ContainerState.CONTAINER_STATE_ASSIGNED,
  starting: ContainerState.CONTAINER_STATE_STARTING,
  ready: ContainerState.CONTAINER_STATE_READY,
  stopping: ContainerState.CONTAINER_STATE_STOPPING,
  stopped: ContainerState.CONTAINER_STATE_STOPPED,
  failed: ContainerState.CONTAINER_STATE_FAILED,
  lost: ContainerState.CONTAINER_STATE_LOST,
};

export async function openPlatform(module: ServiceModule): Promise<Platform> {
  const bed = await testBed();
  let running: RunningService = await bed.start(module);
  const connectAs = (service: string) => bed.connect(SchedulerServiceService, 'scheduler', service);
  const [functions, runners, gateway] = [connectAs('functions'), connectAs('runner'), connectAs('gateway')];
  return {
    bed,
    db: await bed.database(module),
    functions,
    runners,
    gateway,
    async restart() {
      await running[Symbol.asyncDispose]();
      running = await bed.start(module);
    },

    async wish({ owner, spec }, containers, revision, idle = []) {
      const request: SetWishRequest = { owner, spec, containers, revision: BigInt(revision), idle };
      return (await functions.setWish(request)).containers;
    },

    async node(tenant, { gpus = [], ...fields } = {}) {
      const incarnation = fields.incarnation ?? newId('ls');
      const { nodeId } = await runners.registerNode(
        RegisterNodeRequest.fromPartial({
          name: 'a node',
          organizationId: tenant?.organizationId ?? '',
          engine: 'docker',
          cpu: 4,
          memory: 4096,
          devices: gpus.map((model, index) => ({ index, model, memory: 81_920, uuid: `GPU-${index}` })),
          ...fields,
          incarnation,
        }),
      );
      return { nodeId, incarnation };
    },

    async report(runner, containerId, state, fields = {}) {
      await runners.reportContainer(
        ReportContainerRequest.fromPartial({ ...runner, containerId, state, ...fields }),
      );
    },

    async container(id) {
      for (let cursor = ''; ;) {
        const page = await functions.listContainers({
          appId: '',
          functionId: '',
          all: true,
          limit: 100,
          cursor,
        });
        const found = page.data.find(({ containerId }) => containerId === id);
        if (found) return found;
        cursor = page.nextCursor;
        if (!cursor) throw new Error(`no container ${id}`);
      }
    },

    async nodeOf(tenant, nodeId) {
      const { data } = await gateway.listNodes({}, { for: await bed.caller(tenant) });
      const found = data.find((node) => node.nodeId === nodeId);
      if (!found) throw new Error(`no node ${nodeId}`);
      return found;
    },
  };
}
