/**
 * Credentials: how they are made, read and compared.
 *
 * A secret is 32 random bytes, so its SHA-256 is all that need be stored: a slow hash (argon2, bcrypt) defends
 * secrets that people choose, by making each guess dear; nobody guesses one of 2^256. It would only make every
 * request slow, and give whoever sends wrong credentials a way to burn our processors.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_BYTES = 32;
/** Base62 digits that hold 32 bytes: 62^43 > 2^256 > 62^42. */
const SECRET_LENGTH = 43;

/** 32 random bytes as 43 base62 characters. */
function randomSecret(): string {
  let value = BigInt(`0x${randomBytes(SECRET_BYTES).toString('hex')}`);
  let text = '';
  for (let digit = 0; digit < SECRET_LENGTH; digit++) {
    text = ALPHABET[Number(value % 62n)] + text;
    value /= 62n;
  }
  return text;
}

export const newTokenSecret = (): string => `as-${randomSecret()}`;
export const newProxySecret = (): string => `ws-${randomSecret()}`;
export const newAdminKey = (): string => `bk_live_${randomSecret()}`;

/** What is stored of a secret. */
export const hashSecret = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** A credential by its form alone; whether it opens anything is another question. */
export type Presented = { kind: 'api_token'; id: string; hash: Buffer } | { kind: 'admin_key'; hash: Buffer };

const API_TOKEN = /^(ak-[0-9A-Za-z]{22})\.(as-[0-9A-Za-z]{43})$/;
const ADMIN_KEY = /^bk_(?:live|test)_[0-9A-Za-z]{43}$/;

/** Reads `<token_id>.<token_secret>` or `bk_live_…`; undefined for anything else. */
export function readCredential(text: string): Presented | undefined {
  const [, id, secret] = API_TOKEN.exec(text) ?? [];
  if (id && secret) return { kind: 'api_token', id, hash: hashSecret(secret) };
  if (ADMIN_KEY.test(text)) return { kind: 'admin_key', hash: hashSecret(text) };
  return undefined;
}

const PROXY_TOKEN_ID = /^wk-[0-9A-Za-z]{22}$/;
const PROXY_TOKEN_SECRET = /^ws-[0-9A-Za-z]{43}$/;

/** A proxy token by its form alone; undefined for what cannot be one. */
export function readProxyToken(id: string, secret: string): { id: string; hash: Buffer } | undefined {
  if (!PROXY_TOKEN_ID.test(id) || !PROXY_TOKEN_SECRET.test(secret)) return undefined;
  return { id, hash: hashSecret(secret) };
}

/** What is stored of a credential: what decides whether it opens. */
export interface Stored {
  secret_hash: Buffer;
  expires_at: Date | null;
  revoked_at: Date | null;
}

/** Compared with when there is no such credential. No secret is known to have this hash. */
const NOBODY: Stored = { secret_hash: Buffer.alloc(32), expires_at: null, revoked_at: null };

/** Whether a credential opens now. One that does not exist takes the same comparison as one with a wrong secret. */
export function opens<S extends Stored>(
  stored: S | undefined,
  presented: Pick<Presented, 'hash'>,
  now: Date,
): stored is S {
  const { secret_hash, expires_at, revoked_at } = stored ?? NOBODY;
  const same = timingSafeEqual(secret_hash, presented.hash);
  return same && stored !== undefined && revoked_at === null && (expires_at === null || expires_at > now);
}
