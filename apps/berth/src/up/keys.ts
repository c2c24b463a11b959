import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from './write-atomically';

/** The keys that seal secrets: of the workspace service alone. See apps/workspace/README.md for how to change them. */
export const SEALING_KEYS_FILE = 'workspace-sealing.json';

export interface Passwords {
  postgres: string;
  nats: string;
  /** Of each service's own Postgres role. */
  services: Record<string, string>;
}

/**
 * Makes what is missing in the keys folder, and changes nothing that is there: `<service>.key` (Ed25519, PKCS 8),
 * `public.json` (a JWK set whose key ids are the services' names), `passwords.json`, and `workspace-sealing.json`, whose
 * loss is the loss of every secret.
 */
export function ensureKeys(folder: string, services: readonly string[]): Passwords {
  const keys = services.map((service) => {
    const path = join(folder, `${service}.key`);
    if (!existsSync(path)) {
      const { privateKey } = generateKeyPairSync('ed25519');
      writeAtomically(path, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    }
    const jwk = createPublicKey(readFileSync(path, 'utf8')).export({ format: 'jwk' });
    return { ...jwk, kid: service, alg: 'EdDSA', use: 'sig' };
  });
  writeAtomically(join(folder, 'public.json'), JSON.stringify({ keys }, null, 2));

  const sealing = join(folder, SEALING_KEYS_FILE);
  if (!existsSync(sealing)) {
    const key = randomBytes(32).toString('base64url');
    writeAtomically(sealing, JSON.stringify({ current: 'k1', keys: { k1: key } }, null, 2));
  }

  const path = join(folder, 'passwords.json');
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Partial<Passwords>) : {};
  const password = () => randomBytes(24).toString('base64url');
  const passwords: Passwords = {
    postgres: known.postgres ?? password(),
    nats: known.nats ?? password(),
    services: Object.fromEntries(
      services.map((service) => [service, known.services?.[service] ?? password()]),
    ),
  };
  if (JSON.stringify(known) !== JSON.stringify(passwords)) writeAtomically(path, JSON.stringify(passwords));
  return passwords;
}
