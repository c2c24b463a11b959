import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { createEnvironment } from './rpc/create-environment';
import { createWorkspace } from './rpc/create-workspace';
import { getEnvironment } from './rpc/get-environment';
import { getWorkspace } from './rpc/get-workspace';
import { listEnvironments } from './rpc/list-environments';
import { listWorkspaces } from './rpc/list-workspaces';
import { schema } from './store/schema';

export const workspace: ServiceModule = defineService(
  'workspace',
  async (base) => {
    const context = await createContext(base);
    return {
      services: [
        implement(WorkspaceServiceService, {
          createWorkspace: createWorkspace(context),
          getWorkspace: getWorkspace(context),
          listWorkspaces: listWorkspaces(context),
          getEnvironment: getEnvironment(context),
          createEnvironment: createEnvironment(context),
          listEnvironments: listEnvironments(context),
        }),
      ],
      [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
    };
  },
  schema,
);
