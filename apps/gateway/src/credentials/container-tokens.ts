/**
 * The credentials of containers: tokens that identity signed for one run, which runners show in their containers' names.
 * A signature speaks for itself, so nobody is asked; that a container has ended is heard, as revocations are.
 */
import { decodeJwt } from 'jose';
import { LRUCache } from 'lru-cache';
import { TOKEN_SECONDS, type Tokens } from '@berth/service-kit';
import { unknownCredential, type Credential } from './credential';
import type { CallerSession } from './sessions';

export interface ContainerTokens {
  /** What a token opens. Errors: `unauthenticated`, also where its container has ended. */
  open(token: string): Promise<CallerSession>;
  /** No token of this container opens anything any more. Whether one of it was opened lately. */
  end(containerId: string): boolean;
}

/** As JSON Web Tokens begin; no other credential has a dot after that. */
const JWT = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/;
const REMEMBERED_MAX = 100_000;

export const isContainerToken = ({ as, secret }: Credential): boolean => as === 'bearer' && JWT.test(secret);

export function openContainerTokens(tokens: Pick<Tokens, 'verify'>): ContainerTokens {
  // Remembered for longer than a token lives.
  const remembered = { max: REMEMBERED_MAX, ttl: 2 * TOKEN_SECONDS * 1000 };
  const ended = new LRUCache<string, true>(remembered);
  const opened = new LRUCache<string, true>(remembered);
  return {
    async open(token) {
      const principal = await tokens.verify(token).catch(() => {
        throw unknownCredential();
      });
      // Services' own tokens, and those that identity gave out for users, are no credentials.
      if (principal.kind !== 'user' || principal.credentialKind !== 'container') throw unknownCredential();
      const { credentialId } = principal;
      // In this order: an end that comes now finds what it has to drop.
      opened.set(credentialId, true);
      if (ended.has(credentialId)) throw unknownCredential();
      return { credentialId, internalToken: token, expiresAt: new Date(decodeJwt(token).exp! * 1000) };
    },
    end(containerId) {
      ended.set(containerId, true);
      return opened.delete(containerId);
    },
  };
}
