import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { migrateAll } from '../migrate';
import { modules } from '../modules';
import { ensureKeys, SEALING_KEYS_FILE } from '../up/keys';
import type { Step } from '../up/first-run';

/** Who has a key: the services, and `berth` itself, which makes the first organization. */
const SIGNERS = [...modules.map(({ name }) => name), 'berth'];

/**
 * Readies a platform of many machines or containers: keys under `BERTH_KEYS_DIR`, with a folder for each service
 * that holds that service's own keys and everybody's public ones; databases, roles and migrations. Safe to repeat.
 */
export const provision: Step = async (env, say) => {
  const keysDir = env.BERTH_KEYS_DIR;
  if (!keysDir) throw new Error('BERTH_KEYS_DIR is not set');
  mkdirSync(keysDir, { recursive: true, mode: 0o700 });
  ensureKeys(keysDir, SIGNERS);
  for (const service of SIGNERS) {
    const folder = join(keysDir, service);
    mkdirSync(folder, { recursive: true });
    const own = service === 'workspace' ? [SEALING_KEYS_FILE] : [];
    for (const file of [`${service}.key`, 'public.json', ...own]) {
      copyFileSync(join(keysDir, file), join(folder, file));
      // Mounted alone into one container, whose user is not the one that wrote it.
      chmodSync(join(folder, file), 0o444);
    }
  }
  say(`keys for ${SIGNERS.join(', ')}: ${keysDir}`);
  await migrateAll(env, modules, say);
};
