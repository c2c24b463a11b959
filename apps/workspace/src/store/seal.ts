/**
 * Sealing secrets: AES-256-GCM under a key that is in a file and never in the database, so that neither alone opens
 * one. The secret's id is bound in: a sealed value moved to another row does not open. Each row says which key sealed
 * it, so a new key can take over while the one before still opens what it sealed.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { BerthError } from '@berth/service-kit';

export interface Sealed {
  keyId: string;
  sealed: Buffer;
}

export interface Seal {
  /** The key that seals from now on. */
  readonly keyId: string;
  close(secretId: string, plain: Uint8Array): Sealed;
  /** Errors: `data_loss` for what another key sealed, or another secret's, or was changed. */
  open(secretId: string, sealed: Sealed): Buffer;
  /**
   * Stands for a request that holds values where repeats are told apart: a plain hash of a short value could be tried
   * out by who has the database only.
   */
  fingerprint(request: Uint8Array): Buffer;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
/** `{"current": id, "keys": {id: 32 bytes in base64url}}`: the one that seals, and all that open. */
export const SEALING_KEYS_FILE = 'workspace-sealing.json';

const KEY_RING = z
  .object({
    current: z.string().min(1),
    keys: z.record(z.string().min(1), z.string().regex(/^[A-Za-z0-9_-]{43}$/)),
  })
  .refine(({ current, keys }) => current in keys);

/** Throws where the file is missing, or is no ring of keys; never with a part of a key. */
export function openSeal(keysDir: string): Seal {
  const path = join(keysDir, SEALING_KEYS_FILE);
  let ring: z.output<typeof KEY_RING> | undefined;
  try {
    ring = KEY_RING.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code) throw new Error(`${path} cannot be read: ${code}. The keys that seal secrets are in it.`);
    throw new Error(`${path} must be {"current": id, "keys": {id: 32 bytes in base64url}}.`);
  }
  const keys = new Map(Object.entries(ring.keys).map(([id, key]) => [id, Buffer.from(key, 'base64url')]));
  const { current } = ring;
  // Of the first key, whatever seals by now: a repeat is told apart over a change of keys, too.
  const first = [...keys.values()][0]!;
  const fingerprintKey = Buffer.from(
    hkdfSync('sha256', first, '', 'berth workspace request fingerprints', KEY_BYTES),
  );
  return {
    keyId: current,

    close(secretId, plain) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', keys.get(current)!, nonce).setAAD(Buffer.from(secretId));
      const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
      return { keyId: current, sealed };
    },

    open(secretId, { keyId, sealed }) {
      const key = keys.get(keyId);
      if (!key) throw cannotBeOpened(secretId, `the key ${keyId} is not in ${SEALING_KEYS_FILE}`);
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES));
        decipher.setAAD(Buffer.from(secretId)).setAuthTag(sealed.subarray(-TAG_BYTES));
        return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      } catch (error) {
        throw cannotBeOpened(secretId, error);
      }
    },

    fingerprint: (request) => createHmac('sha256', fingerprintKey).update(request).digest(),
  };
}

const cannotBeOpened = (secretId: string, cause: unknown) =>
  new BerthError(
    'data_loss',
    `The secret ${secretId} cannot be opened any more: give it its variables again.`,
    {
      cause,
    },
  );
