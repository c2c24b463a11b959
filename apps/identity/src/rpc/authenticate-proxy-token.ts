import type {
  AuthenticateProxyTokenRequest,
  AuthenticateProxyTokenResponse,
} from '@berth/contracts/identity/v1/proxy_tokens';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { opens, readProxyToken } from '../domain/credential';
import { findProxyToken } from '../store/proxy-token-store';

/** What an answer may be kept for, as an internal token is. */
const HOLDS_MS = 60_000;

/** One answer for every way to be wrong: which part was, only helps who guesses. */
const refusal = () => new BerthError('unauthenticated', 'The proxy token is not valid.');

/** Says whose endpoints a proxy token opens. */
export const authenticateProxyToken =
  ({ db }: Context) =>
  async ({
    tokenId,
    tokenSecret,
  }: AuthenticateProxyTokenRequest): Promise<AuthenticateProxyTokenResponse> => {
    const presented = readProxyToken(tokenId, tokenSecret);
    if (!presented) throw refusal();
    const stored = await findProxyToken(db, presented.id);
    const now = new Date();
    if (!opens(stored, presented, now)) throw refusal();
    const endsMs = Math.min(now.getTime() + HOLDS_MS, stored.expires_at?.getTime() ?? Infinity);
    return { workspaceId: stored.workspace_id, expiresAt: new Date(endsMs) };
  };
