import { CreateApiTokenRequest, CreateApiTokenResponse } from '@berth/contracts/identity/v1/identity';
import { idempotent } from '@berth/database';
import { BerthError, organizationOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkTerms } from '../domain/api-token';
import { insertApiToken, isMember } from '../store/api-token-store';
import { audit } from '../store/audit';
import { sealedAnswer } from '../store/seal';
import { apiTokenToProto } from './to-proto';

/** Makes an API token for a member, in a workspace of the same organization. Honours Idempotency-Key. */
export const createApiToken =
  ({ db, seal, workspaces }: Context) =>
  async (request: CreateApiTokenRequest, call: CallContext): Promise<CreateApiTokenResponse> => {
    const organizationId = organizationOf(call, request.organizationId);
    const terms = checkTerms(request, new Date());
    const userId = request.userId || callersUserId(call);
    const { workspaceId } = request;
    await checkWorkspace(workspaces, organizationId, workspaceId, call);

    const repeat = {
      scope: organizationId,
      method: 'CreateApiToken',
      key: call.idempotencyKey,
      request: CreateApiTokenRequest.encode(request).finish(),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, sealedAnswer(seal, CreateApiTokenResponse), async () => {
        if (!(await isMember(tx, organizationId, userId))) {
          throw new BerthError('not_found', 'No such member in this organization: check user_id.', {
            field: 'user_id',
          });
        }
        const { row, secret } = await insertApiToken(tx, { organizationId, workspaceId, userId }, terms);
        await audit(tx, call, organizationId, 'api_token.created', row.id);
        return { tokenId: row.id, tokenSecret: secret, token: apiTokenToProto(row) };
      }),
    );
  };

function callersUserId({ principal }: CallContext): string {
  if (principal.kind === 'user') return principal.userId;
  throw new BerthError('invalid', 'user_id is missing: a service has to name the member.', {
    field: 'user_id',
  });
}

/** Asks in the caller's name, so that a workspace which the caller may not see is not there for the caller. */
async function checkWorkspace(
  workspaces: Context['workspaces'],
  organizationId: string,
  workspaceId: string,
  call: CallContext,
): Promise<void> {
  const inCallersName = call.principal.kind === 'user' ? { for: call } : {};
  const { workspace } = await workspaces.getWorkspace({ workspaceId }, inCallersName);
  if (workspace?.organizationId === organizationId) return;
  throw new BerthError('not_found', 'No such workspace in this organization: check workspace_id.', {
    field: 'workspace_id',
  });
}
