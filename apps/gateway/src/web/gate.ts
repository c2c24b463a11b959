import type { IncomingHttpHeaders } from 'node:http';
import { ProxyTokenServiceService } from '@berth/contracts/identity/v1/proxy_tokens';
import { BerthError, connect, type Logger, type Tokens } from '@berth/service-kit';
import { openSessionCache, type Forgetful, type Session } from '../credentials/sessions';
import { needsProxyToken } from './failures';
import { PROXY_TOKEN_HEADERS } from './headers';

/** The gate before endpoints that want a proxy token. */
export interface Gate {
  /** The proxy token in these headers: its id, and whose endpoints it opens. Errors: `unauthenticated`. */
  tokenIn(headers: IncomingHttpHeaders): Promise<{ credentialId: string; workspaceId: string }>;
  /** Hears of revocations. */
  cache: Forgetful;
  close(): void;
}

interface ProxySession extends Session {
  workspaceId: string;
}

const LENGTH_MAX = 128;

export function openGate(identityAddress: string, tokens: Tokens, log: Logger): Gate {
  const identity = connect(ProxyTokenServiceService, identityAddress, tokens);
  const cache = openSessionCache<ProxySession>(async ({ secret }) => {
    const [tokenId = '', tokenSecret = ''] = secret.split('.');
    const { workspaceId, expiresAt } = await identity.authenticateProxyToken({ tokenId, tokenSecret });
    if (!expiresAt) throw new BerthError('internal', 'Identity answered without an end.');
    return { credentialId: tokenId, workspaceId, expiresAt };
  }, log);
  return {
    cache,
    async tokenIn(headers) {
      const secret = proxyTokenIn(headers);
      if (!secret) throw needsProxyToken();
      return cache.sessionFor({ as: 'proxyToken', secret });
    },
    close: () => identity.close(),
  };
}

/** `<id>.<secret>` of the first pair of headers that is whole; undefined: there is none that could be a token. */
function proxyTokenIn(headers: IncomingHttpHeaders): string | undefined {
  for (const [key, secret] of PROXY_TOKEN_HEADERS) {
    const [id, word] = [headers[key], headers[secret]];
    if (typeof id !== 'string' || typeof word !== 'string') continue;
    const token = `${id}.${word}`;
    if (token.length <= LENGTH_MAX && /^wk-\w+\.ws-\w+$/.test(token)) return token;
  }
  return undefined;
}
