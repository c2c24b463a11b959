/**
 * Sealing what has to be read back and is not worth a key of its own: the key follows from the service's private key, which
 * is on disk and not in the database, so neither alone opens what is sealed.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Seal {
  /** `boundTo`: the id of what it belongs to; moved to another row it does not open. */
  close(plain: Uint8Array, boundTo?: string): Buffer;
  /** Throws for anything but what `close` gave, for the same id. */
  open(sealed: Uint8Array, boundTo?: string): Buffer;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

/** AES-256-GCM under a key derived from `<service>.key`, another one for each purpose. */
export function openSeal(keysDir: string, service: string, purpose: string): Seal {
  const secret = readFileSync(join(keysDir, `${service}.key`));
  const key = Buffer.from(hkdfSync('sha256', secret, '', `berth ${service} ${purpose}`, KEY_BYTES));
  return {
    close(plain, boundTo = '') {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(boundTo));
      return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },
    open(sealed, boundTo = '') {
      const bytes = Buffer.from(sealed);
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAAD(Buffer.from(boundTo)).setAuthTag(bytes.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    },
  };
}
