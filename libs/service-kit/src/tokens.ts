/**
 * Internal tokens: who a request speaks for, signed by a service that may say so.
 *
 * `identity` speaks for users and keys; every other service speaks for itself only. Both rules are checked by the
 * receiver, so a stolen key of one service cannot speak for a user or for another service.
 */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify, SignJWT, type JSONWebKeySet } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Role } from '@berth/contracts';
import { BerthError } from './errors';

/** Somebody with a credential. */
export interface UserPrincipal {
  kind: 'user';
  credentialKind: 'api_token' | 'admin_key' | 'container';
  /** Of a container's own credential: the container's. */
  credentialId: string;
  organizationId: string;
  /** Empty for an admin key: it manages the organization and runs nothing. */
  workspaceId: string;
  /** Empty for a container. */
  userId: string;
  /** What runs in the container whose credential this is. */
  run?: { appId: string; functionId: string };
  role: Role;
  /** Where the role holds. */
  scope: 'workspace' | 'organization';
}

/** A service in its own name. */
export interface ServicePrincipal {
  kind: 'service';
  service: string;
}

export type Principal = UserPrincipal | ServicePrincipal;

/** Seconds that an internal token holds. */
export const TOKEN_SECONDS = 60;

const AUDIENCE = 'berth';

export interface Tokens {
  /** The service that this process's tokens are signed by. */
  readonly service: string;
  /** A token for `principal`; reused until half its life is over. */
  sign(principal: Principal): Promise<string>;
  /** Who a token speaks for. Errors: `unauthenticated`. */
  verify(token: string): Promise<Principal>;
}

/** Reads `<service>.key` and `public.json` (a JWK set whose key ids are service names) from the keys folder. */
export function openTokens(service: string, keysDir: string): Tokens {
  const privateKey = createPrivateKey(readFileSync(join(keysDir, `${service}.key`)));
  const keySet = JSON.parse(readFileSync(join(keysDir, 'public.json'), 'utf8')) as JSONWebKeySet;
  const publicKey = createLocalJWKSet(keySet);

  const verified = new LRUCache<string, { principal: Principal; expiresAt: number }>({ max: 10_000 });
  const signed = new LRUCache<string, { token: string; staleAt: number }>({ max: 10_000 });

  return {
    service,

    async sign(principal) {
      const key = JSON.stringify(principal);
      const earlier = signed.get(key);
      if (earlier && earlier.staleAt > Date.now()) return earlier.token;

      const token = await new SignJWT({ principal })
        .setProtectedHeader({ alg: 'EdDSA', kid: service })
        .setIssuer(service)
        .setAudience(AUDIENCE)
        .setIssuedAt()
        .setExpirationTime(`${TOKEN_SECONDS}s`)
        .sign(privateKey);
      signed.set(key, { token, staleAt: Date.now() + (TOKEN_SECONDS * 1000) / 2 });
      return token;
    },

    async verify(token) {
      const earlier = verified.get(token);
      if (earlier && earlier.expiresAt > Date.now()) return earlier.principal;

      const { payload, protectedHeader } = await jwtVerify(token, publicKey, {
        algorithms: ['EdDSA'],
        audience: AUDIENCE,
        clockTolerance: 5,
      }).catch((cause: unknown) => {
        throw new BerthError('unauthenticated', 'The internal token is not valid.', { cause });
      });
      const principal = payload.principal as Principal;
      const mayClaim =
        payload.iss === protectedHeader.kid &&
        (principal.kind === 'service' ? principal.service === payload.iss : payload.iss === 'identity');
      if (!mayClaim) {
        throw new BerthError('unauthenticated', 'The internal token claims what its signer may not say.');
      }
      verified.set(token, { principal, expiresAt: payload.exp! * 1000 });
      return principal;
    },
  };
}
