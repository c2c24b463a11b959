import type { TestServer } from './servers';
import { startTestPostgres } from './test-postgres';

declare global {
  var berthTestPostgres: TestServer | undefined;
}

/** One Postgres for the run; each test bed makes its own database in it. */
export default async function setup(): Promise<void> {
  globalThis.berthTestPostgres = await startTestPostgres();
  process.env.BERTH_TEST_POSTGRES_URL = globalThis.berthTestPostgres.url;
}
