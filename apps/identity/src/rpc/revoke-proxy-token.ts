import type {
  RevokeProxyTokenRequest,
  RevokeProxyTokenResponse,
} from '@berth/contracts/identity/v1/proxy_tokens';
import { enqueue } from '@berth/events';
import { BerthError, userOf, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { audit } from '../store/audit';
import { revokeProxyTokenRow } from '../store/proxy-token-store';

/** Ends a proxy token; the gateway forgets it on the event. Repeatable. */
export const revokeProxyToken =
  ({ db, relay }: Context) =>
  async ({ tokenId }: RevokeProxyTokenRequest, call: CallContext): Promise<RevokeProxyTokenResponse> => {
    const workspaceId = workspaceOf(call);
    const { organizationId } = userOf(call);
    const outcome = await db.transact(async (tx) => {
      const ended = await revokeProxyTokenRow(tx, workspaceId, tokenId);
      if (ended === 'revoked') {
        await enqueue(tx, 'berth.events.credential.v1.revoked', { credential_id: tokenId });
        await audit(tx, call, organizationId, 'proxy_token.revoked', tokenId);
      }
      return ended;
    });
    if (outcome === 'none') {
      throw new BerthError('not_found', 'No such proxy token: check token_id.', { field: 'token_id' });
    }
    relay.wake();
    return {};
  };
