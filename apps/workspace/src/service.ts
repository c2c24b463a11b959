import { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { resealSecrets } from './loops/reseal';
import { createEnvironment } from './rpc/create-environment';
import { createSecret } from './rpc/create-secret';
import { createWorkspace } from './rpc/create-workspace';
import { deleteSecret } from './rpc/delete-secret';
import { findMissingSecrets } from './rpc/find-missing-secrets';
import { getEnvironment } from './rpc/get-environment';
import { getSecret } from './rpc/get-secret';
import { getWorkspace } from './rpc/get-workspace';
import { listEnvironments } from './rpc/list-environments';
import { listSecrets } from './rpc/list-secrets';
import { listWorkspaces } from './rpc/list-workspaces';
import { openSecrets } from './rpc/open-secrets';
import { updateSecret } from './rpc/update-secret';
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
        implement(SecretServiceService, {
          createSecret: createSecret(context),
          updateSecret: updateSecret(context),
          getSecret: getSecret(context),
          listSecrets: listSecrets(context),
          deleteSecret: deleteSecret(context),
          findMissingSecrets: findMissingSecrets(context),
          openSecrets: openSecrets(context),
        }),
      ],
      begin: () => resealSecrets(context),
      [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
    };
  },
  schema,
);
