/**
 * Who callers are. A credential is shown to identity once; its session, with the internal token that peers accept, is
 * kept for a minute at most under the credential's hash, renewed in the background from half its life on, and dropped
 * when identity says that the credential was revoked.
 *
 * The hard part is what comes late. An answer that was asked for before a revocation must not be kept after it; and
 * while revocations cannot reach us, nothing may be believed for longer than a second.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { BerthError, type Logger } from '@berth/service-kit';
import type { Credential } from './credential';

/** What identity makes of a credential. */
export interface Session {
  credentialId: string;
  /** When it is not to be believed any more. */
  expiresAt: Date;
}

/** Of somebody with a credential of the API. */
export interface CallerSession extends Session {
  /** What peers accept until the session ends. */
  internalToken: string;
}

export interface Sessions extends SessionCache<CallerSession> {
  /** The internal token for a credential. Errors: as identity's Authenticate. */
  tokenFor(credential: Credential): string | Promise<string>;
}

/** What was made of credentials lately. */
export interface SessionCache<S extends Session> extends Forgetful {
  /** What a credential opens. Errors: as identity says them. */
  sessionFor(credential: Credential): S | Promise<S>;
}

/** What has to hear of revocations. */
export interface Forgetful {
  /** Drops what this credential opened. */
  revoke(credentialId: string): void;
  /** Drops everything: a revocation may have been missed. */
  clear(): void;
  /** Whether revocations reach us; if not, a session is believed for a second only. */
  setHearing(hearing: boolean): void;
}

const KEPT_MAX = 10_000;
const LIFE_MAX_MS = 60_000;
const LIFE_UNHEARD_MS = 1000;
const REFUSAL_MS = 1000;
/** A token is not used in its last moments: it has to arrive as well. */
const MARGIN_MS = 5000;
const RENEWAL_PAUSE_MS = 1000;

interface Entry<S> {
  session: S;
  madeAt: number;
  /** From here on it is renewed beside its use. */
  renewAt: number;
  /** From here on it is not used. */
  endsAt: number;
}

export function openSessions(
  authenticate: (credential: Credential) => Promise<CallerSession>,
  log: Logger,
): Sessions {
  const cache = openSessionCache(authenticate, log);
  return {
    ...cache,
    tokenFor(credential) {
      const session = cache.sessionFor(credential);
      return session instanceof Promise
        ? session.then(({ internalToken }) => internalToken)
        : session.internalToken;
    },
  };
}

export function openSessionCache<S extends Session>(
  authenticate: (credential: Credential) => Promise<S>,
  log: Logger,
): SessionCache<S> {
  const entries = new LRUCache<string, Entry<S>>({ max: KEPT_MAX });
  const refused = new LRUCache<string, BerthError>({ max: KEPT_MAX, ttl: REFUSAL_MS });
  const asking = new Map<string, Promise<Entry<S>>>();
  /** Grows with everything that may make an answer on its way untrue. */
  let generation = 0;
  let hearing = true;

  const ask = (key: string, credential: Credential): Promise<Entry<S>> => {
    const earlier = asking.get(key);
    if (earlier) return earlier;
    const askedIn = generation;
    const asked = authenticate(credential)
      .then((session) => {
        const madeAt = Date.now();
        const endsAt = Math.min(madeAt + LIFE_MAX_MS, session.expiresAt.getTime() - MARGIN_MS);
        const entry: Entry<S> = { session, madeAt, endsAt, renewAt: madeAt + (endsAt - madeAt) / 2 };
        if (askedIn === generation) entries.set(key, entry);
        return entry;
      })
      .catch((error: unknown) => {
        if (error instanceof BerthError && error.kind === 'unauthenticated') {
          entries.delete(key);
          refused.set(key, error);
        }
        throw error;
      })
      .finally(() => {
        if (asking.get(key) === asked) asking.delete(key);
      });
    asking.set(key, asked);
    return asked;
  };

  const renew = (key: string, entry: Entry<S>, credential: Credential) => {
    entry.renewAt = Date.now() + RENEWAL_PAUSE_MS;
    ask(key, credential).catch((error: unknown) =>
      log.warn({ err: error, credentialId: entry.session.credentialId }, 'a session could not be renewed'),
    );
  };

  return {
    sessionFor(credential) {
      const key = hash('sha256', `${credential.as} ${credential.secret}`, 'base64');
      const now = Date.now();
      const entry = entries.get(key);
      if (entry && now < (hearing ? entry.endsAt : Math.min(entry.endsAt, entry.madeAt + LIFE_UNHEARD_MS))) {
        if (now >= entry.renewAt) renew(key, entry, credential);
        return entry.session;
      }
      const refusal = refused.get(key);
      if (refusal) throw refusal;
      return ask(key, credential).then(({ session }) => session);
    },
    revoke(credentialId) {
      generation += 1;
      asking.clear();
      // A walk over all: revocations are rare, and an index beside the cache could go wrong.
      for (const [key, entry] of [...entries])
        if (entry.session.credentialId === credentialId) entries.delete(key);
    },
    clear() {
      generation += 1;
      asking.clear();
      entries.clear();
    },
    setHearing(now) {
      hearing = now;
    },
  };
}
