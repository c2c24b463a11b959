import { migrate } from '@berth/database';
import type { ServiceModule } from '@berth/service-kit';
import { prepareDatabase } from './up/database';

/**
 * Makes the database, and for each service that has a store its role, its schema and the migrations it lacks.
 * `env` holds the superuser's `BERTH_POSTGRES_URL` and each service's `BERTH_<SERVICE>_POSTGRES_URL`. Safe to repeat.
 */
export async function migrateAll(
  env: NodeJS.ProcessEnv,
  modules: readonly ServiceModule[],
  say: (line: string) => void,
): Promise<void> {
  const stores = modules.flatMap(({ name, database }) => {
    const url = env[`BERTH_${name.toUpperCase()}_POSTGRES_URL`];
    if (database && !url) throw new Error(`BERTH_${name.toUpperCase()}_POSTGRES_URL is not set`);
    return database && url ? [{ name, database, url }] : [];
  });
  if (!env.BERTH_POSTGRES_URL) throw new Error('BERTH_POSTGRES_URL is not set');
  await prepareDatabase(
    env.BERTH_POSTGRES_URL,
    stores.map(({ database, url }) => ({ schema: database.schema, url })),
  );
  for (const { name, database, url } of stores) {
    const applied = await migrate({ ...database, url });
    if (applied.length > 0) say(`${name}: applied ${applied.join(', ')}`);
  }
}
