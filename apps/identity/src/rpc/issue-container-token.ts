import { decodeJwt } from 'jose';
import type {
  IssueContainerTokenRequest,
  IssueContainerTokenResponse,
} from '@berth/contracts/identity/v1/identity';
import type { Context } from '../context';

/**
 * A token for the run of one container. Whose that is, the scheduler says and not the runner which asks: no runner can
 * speak for a workspace that has nothing placed. It carries the least role; `containers` in a method's access rule
 * says what it opens. Errors: `not_found` for a container that is not there, or has ended.
 */
export const issueContainerToken =
  ({ scheduler, tokens }: Pick<Context, 'scheduler' | 'tokens'>) =>
  async ({ containerId }: IssueContainerTokenRequest): Promise<IssueContainerTokenResponse> => {
    const { organizationId, workspaceId, appId, functionId } = await scheduler.getContainerOwner({
      containerId,
    });
    const token = await tokens.sign({
      kind: 'user',
      credentialKind: 'container',
      credentialId: containerId,
      organizationId,
      workspaceId,
      userId: '',
      run: { appId, functionId },
      role: 'member',
      scope: 'workspace',
    });
    return { token, expiresAt: new Date(decodeJwt(token).exp! * 1000) };
  };
