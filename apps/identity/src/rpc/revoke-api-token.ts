import type { RevokeApiTokenRequest, RevokeApiTokenResponse } from '@berth/contracts/identity/v1/identity';
import { enqueue } from '@berth/events';
import { BerthError, userOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { revoke } from '../store/api-token-store';
import { audit } from '../store/audit';

/** Ends an API token; the gateway forgets it on the event. Repeatable. */
export const revokeApiToken =
  ({ db, relay }: Context) =>
  async ({ tokenId }: RevokeApiTokenRequest, call: CallContext): Promise<RevokeApiTokenResponse> => {
    const { organizationId } = userOf(call);
    const outcome = await db.transact(async (tx) => {
      const ended = await revoke(tx, organizationId, tokenId);
      if (ended === 'revoked') {
        await enqueue(tx, 'berth.events.credential.v1.revoked', { credential_id: tokenId });
        await audit(tx, call, organizationId, 'api_token.revoked', tokenId);
      }
      return ended;
    });
    if (outcome === 'none') {
      throw new BerthError('not_found', 'No such API token: check token_id.', { field: 'token_id' });
    }
    relay.wake();
    return {};
  };
