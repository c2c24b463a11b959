/**
 * Sealing what has to be read back: the answer that made a token holds its secret, and a repeated request gets the
 * same answer. The key follows from identity's private key, which is on disk and not in the database, so neither
 * alone opens a token.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Seal {
  close(plain: Uint8Array): Uint8Array;
  /** Throws for anything but what `close` gave. */
  open(sealed: Uint8Array): Uint8Array;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** AES-256-GCM under a key derived from `identity.key`. */
export function openSeal(keysDir: string): Seal {
  const secret = readFileSync(join(keysDir, 'identity.key'));
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'berth identity sealed answers', 32));
  return {
    close(plain) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },
    open(sealed) {
      const bytes = Buffer.from(sealed);
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    },
  };
}

/** How an answer that holds a secret is kept for a repeat of its request: sealed. */
export const sealedAnswer = <T>(
  seal: Seal,
  codec: { encode(response: T): { finish(): Uint8Array }; decode(bytes: Uint8Array): T },
) => ({
  encode: (response: T) => ({ finish: () => seal.close(codec.encode(response).finish()) }),
  decode: (bytes: Uint8Array) => codec.decode(seal.open(bytes)),
});
