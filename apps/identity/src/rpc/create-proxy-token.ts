import { CreateProxyTokenRequest, CreateProxyTokenResponse } from '@berth/contracts/identity/v1/proxy_tokens';
import { idempotent } from '@berth/database';
import { userOf, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkTerms } from '../domain/api-token';
import { audit } from '../store/audit';
import { insertProxyToken } from '../store/proxy-token-store';
import { sealedAnswer } from '../store/seal';
import { proxyTokenToProto } from './to-proto';

/** Makes a proxy token of the caller's workspace. Honours Idempotency-Key. */
export const createProxyToken =
  ({ db, seal }: Context) =>
  async (request: CreateProxyTokenRequest, call: CallContext): Promise<CreateProxyTokenResponse> => {
    const workspaceId = workspaceOf(call);
    const { organizationId } = userOf(call);
    const terms = checkTerms({ ...request, role: 0 }, new Date());
    const repeat = {
      scope: workspaceId,
      method: 'CreateProxyToken',
      key: call.idempotencyKey,
      request: CreateProxyTokenRequest.encode(request).finish(),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, sealedAnswer(seal, CreateProxyTokenResponse), async () => {
        const { row, secret } = await insertProxyToken(tx, { organizationId, workspaceId }, terms);
        await audit(tx, call, organizationId, 'proxy_token.created', row.id);
        return { tokenId: row.id, tokenSecret: secret, token: proxyTokenToProto(row) };
      }),
    );
  };
