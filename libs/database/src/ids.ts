import { randomBytes } from 'node:crypto';

/** What an id names. See docs/guides/architecture.md; a vendor's clients check some of these. */
export type IdPrefix =
  | 'or'
  | 'us'
  | 'wo'
  | 'pj'
  | 'cl'
  | 'en'
  | 'ap'
  | 'fu'
  | 'fc'
  | 'in'
  | 'ta'
  | 'no'
  | 'gp'
  | 'im'
  | 'vo'
  | 'st'
  | 'tr'
  | 'ak'
  | 'as'
  | 'wk'
  | 'ws'
  | 'ls'
  | 'ev';

export type Id<P extends IdPrefix = IdPrefix> = `${P}-${string}`;

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BODY_LENGTH = 22;

const RANDOM_BYTES = 10;
/** Asking the system for random bytes costs the same for ten as for thousands. */
let pool = Buffer.alloc(0);
function randomHex(): string {
  if (pool.length < RANDOM_BYTES) pool = randomBytes(400 * RANDOM_BYTES);
  const hex = pool.toString('hex', 0, RANDOM_BYTES);
  pool = pool.subarray(RANDOM_BYTES);
  return hex;
}

/**
 * A new id: 48 bits of milliseconds and 80 random bits as 22 base62 digits, so that ids sort by their time as text
 * (in the C collation) and cannot be guessed.
 */
export function newId<P extends IdPrefix>(prefix: P, now: number = Date.now()): Id<P> {
  for (;;) {
    let value = (BigInt(now) << 80n) | BigInt(`0x${randomHex()}`);
    let body = '';
    for (let digit = 0; digit < BODY_LENGTH; digit++) {
      body = ALPHABET[Number(value % 62n)] + body;
      value /= 62n;
    }
    // A vendor's client takes a container id that ends in V for another kind of thing.
    if (prefix !== 'ta' || !body.endsWith('V')) return `${prefix}-${body}`;
  }
}

/** Whether `text` has the form of an id of this kind. */
export const isId = <P extends IdPrefix>(prefix: P, text: string): text is Id<P> =>
  text.length === prefix.length + 1 + BODY_LENGTH &&
  text.startsWith(`${prefix}-`) &&
  /^[0-9A-Za-z]+$/.test(text.slice(prefix.length + 1));
