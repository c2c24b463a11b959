import { BerthError } from '@berth/service-kit';

/** What a caller shows to say who they are. Never logged. */
export interface Credential {
  /** How it was shown; identity reads the two differently. */
  as: 'bearer' | 'apiKey' | 'proxyToken';
  secret: string;
}

const BEARER = /^bearer +(\S+) *$/i;
/** Longer than any credential, container tokens included, and shorter than what would be worth hashing. */
const LENGTH_MAX = 2048;
const PRINTABLE = /^[\x21-\x7e]+$/;

/**
 * The credential of a request, from its headers or metadata.
 * Errors: `unauthenticated` when there is none or it cannot be one; `invalid` for two that differ.
 */
export function credentialOf(authorization: string | undefined, apiKey: string | undefined): Credential {
  if (!authorization && !apiKey) {
    throw new BerthError(
      'unauthenticated',
      'This needs a credential: send "Authorization: Bearer <token_id>.<token_secret>" or "x-api-key: <key>".',
    );
  }
  const bearer = authorization ? BEARER.exec(authorization)?.[1] : undefined;
  if (authorization && !bearer) {
    throw new BerthError(
      'unauthenticated',
      'The Authorization header must read "Bearer <token_id>.<token_secret>".',
    );
  }
  if (bearer && apiKey && bearer !== apiKey) {
    throw new BerthError('invalid', 'Authorization and x-api-key differ: send one of them.', {
      field: 'x-api-key',
    });
  }
  const credential: Credential = bearer
    ? { as: 'bearer', secret: bearer }
    : { as: 'apiKey', secret: apiKey! };
  if (credential.secret.length > LENGTH_MAX || !PRINTABLE.test(credential.secret)) throw unknownCredential();
  return credential;
}

/** One message for every credential that opens nothing: it never says why. */
export const unknownCredential = (): BerthError =>
  new BerthError(
    'unauthenticated',
    'The credential is not valid: make a new token, or check the one you sent.',
  );
