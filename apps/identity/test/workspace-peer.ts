import { SchedulerServiceService } from '@berth/contracts/scheduler/v1/scheduler';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { BerthError, defineService, implement, type ServiceModule } from '@berth/service-kit';

const refuse = () => Promise.reject(new BerthError('unimplemented', 'identity does not ask this'));

/**
 * The one answer that identity needs of its peer, behind the real gate: which organization a workspace is in. The
 * real peer stands in apps/berth/test, where services are composed.
 */
export const workspacePeer = (organizationOfWorkspace: Map<string, string>): ServiceModule =>
  defineService('workspace', async () => ({
    services: [
      implement(WorkspaceServiceService, {
        getWorkspace: async ({ workspaceId }, { principal }) => {
          const organizationId = organizationOfWorkspace.get(workspaceId);
          const mayKnow =
            principal.kind === 'service'
              ? principal.service === 'identity'
              : principal.organizationId === organizationId;
          if (!organizationId || !mayKnow) throw new BerthError('not_found', 'No such workspace.');
          return { workspace: { workspaceId, organizationId, name: 'w', createdAt: new Date(0) } };
        },
        createWorkspace: refuse,
        listWorkspaces: refuse,
        getEnvironment: refuse,
        createEnvironment: refuse,
        listEnvironments: refuse,
      }),
    ],
    async [Symbol.asyncDispose]() {},
  }));

export interface ContainerOwner {
  organizationId: string;
  workspaceId: string;
  appId: string;
  functionId: string;
}

/** Knows whose each container is that lives, as identity asks it. */
export const schedulerPeer = (owners: Map<string, ContainerOwner>): ServiceModule =>
  defineService('scheduler', async () => ({
    services: [
      implement(SchedulerServiceService, {
        getContainerOwner: async ({ containerId }) => {
          const owner = owners.get(containerId);
          if (!owner) throw new BerthError('not_found', 'No such container lives.');
          return owner;
        },
        setWish: refuse,
        registerNode: refuse,
        heartbeat: refuse,
        listAssignments: refuse,
        reportContainer: refuse,
        listContainers: refuse,
        listNodes: refuse,
      }),
    ],
    async [Symbol.asyncDispose]() {},
  }));
