import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateApiTokenRequest,
  CreateOrganizationRequest,
  IdentityServiceService,
} from '@berth/contracts/identity/v1/identity';
import { Role } from '@berth/contracts/options/v1/options';
import {
  CreateWorkspaceRequest,
  ListWorkspacesRequest,
  WorkspaceServiceService,
  type Workspace,
} from '@berth/contracts/workspace/v1/workspace';
import { Berth, BerthApiError } from '@berth/sdk';
import { addressOf, BerthError, connect, openTokens } from '@berth/service-kit';
import type { Step } from '../up/first-run';
import { writeAtomically } from '../up/write-atomically';

const NAME = 'default';

/** What `credentials.json` holds: the contract that tools rely on. */
interface CredentialsFile {
  api_url: string;
  grpc_url: string;
  organization_id: string;
  workspace_id: string;
  token_id: string;
  token_secret: string;
  admin_api_key: string;
}

/**
 * Makes the first organization, its owner, its workspace and the credentials that open them. Repeatable: credentials
 * that still open the platform are kept; only their URLs follow the ports.
 */
export const bootstrap: Step = async (env, say) => {
  const path = join(env.BERTH_DATA_DIR!, 'credentials.json');
  const urls = { api_url: env.BERTH_API_URL!, grpc_url: env.BERTH_GRPC_URL! };
  const earlier = readCredentials(path);
  if (earlier && (await opens(urls.api_url, earlier))) {
    writeAtomically(path, `${JSON.stringify({ ...earlier, ...urls }, null, 2)}\n`);
    return;
  }

  const tokens = openTokens('berth', env.BERTH_KEYS_DIR!);
  const identity = connect(IdentityServiceService, addressOf('identity', env), tokens);
  const workspaces = connect(WorkspaceServiceService, addressOf('workspace', env), tokens);
  try {
    const { organizationId, ownerUserId, adminApiKey } = await identity.createOrganization(
      CreateOrganizationRequest.fromPartial({
        name: NAME,
        ownerEmail: 'owner@berth.local',
        newAdminKey: true,
      }),
    );
    const { workspaceId } = await ensureWorkspace(workspaces, organizationId);
    const { tokenId, tokenSecret } = await identity.createApiToken(
      CreateApiTokenRequest.fromPartial({
        organizationId,
        workspaceId,
        userId: ownerUserId,
        name: 'first token',
        role: Role.ROLE_OWNER,
      }),
    );
    const credentials: CredentialsFile = {
      ...urls,
      organization_id: organizationId,
      workspace_id: workspaceId,
      token_id: tokenId,
      token_secret: tokenSecret,
      admin_api_key: adminApiKey,
    };
    writeAtomically(path, `${JSON.stringify(credentials, null, 2)}\n`);
    say(`made the first organization, workspace and token: ${path}`);
  } finally {
    identity.close();
    workspaces.close();
  }
};

async function ensureWorkspace(
  workspaces: ReturnType<typeof connect<typeof WorkspaceServiceService>>,
  organizationId: string,
): Promise<Workspace> {
  try {
    return (
      await workspaces.createWorkspace(CreateWorkspaceRequest.fromPartial({ name: NAME, organizationId }))
    ).workspace!;
  } catch (error) {
    if (!(error instanceof BerthError) || error.kind !== 'conflict') throw error;
    // An earlier start came this far and no further.
    const { data } = await workspaces.listWorkspaces(
      ListWorkspacesRequest.fromPartial({ organizationId, limit: 100 }),
    );
    const found = data.find(({ name }) => name === NAME);
    if (!found) throw error;
    return found;
  }
}

function readCredentials(path: string): CredentialsFile | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as CredentialsFile;
  } catch {
    return undefined;
  }
}

/** Whether these credentials are good. A platform that does not answer is not asked for new ones. */
async function opens(
  apiUrl: string,
  { token_id, token_secret, workspace_id }: CredentialsFile,
): Promise<boolean> {
  const berth = new Berth({ apiUrl, tokenId: token_id, tokenSecret: token_secret });
  try {
    return (await berth.whoAmI()).principal.workspace_id === workspace_id;
  } catch (error) {
    if (error instanceof BerthApiError && error.status === 401) return false;
    throw error;
  } finally {
    await berth.close();
  }
}
