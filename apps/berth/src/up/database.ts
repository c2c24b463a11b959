import { Client, escapeIdentifier, escapeLiteral } from 'pg';

/** A service's corner: the role and password that its URL names own the schema. */
export interface Corner {
  schema: string;
  url: string;
}

const DUPLICATE = /^(42P04|42710|42P06|23505)$/; // database, role, schema; or two at once.

async function connected<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: url,
    application_name: 'berth up',
    connectionTimeoutMillis: 10_000,
  });
  client.on('error', () => undefined); // The query that was running tells.
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function unlessThere(client: Client, statement: string): Promise<void> {
  try {
    await client.query(statement);
  } catch (error) {
    if (!DUPLICATE.test((error as { code?: string }).code ?? '')) throw error;
  }
}

/**
 * Makes, as the superuser of `adminUrl`, the database that the corners' URLs name, their roles and their schemas,
 * and sets the roles' passwords. Nobody but the owner and the superuser may see into a schema. Safe to repeat.
 */
export async function prepareDatabase(adminUrl: string, corners: readonly Corner[]): Promise<void> {
  if (corners.length === 0) return;
  const database = decodeURIComponent(new URL(corners[0]!.url).pathname.slice(1));
  await connected(adminUrl, async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (!rowCount) await unlessThere(client, `CREATE DATABASE ${escapeIdentifier(database)}`);
    for (const { url } of corners) {
      const { username, password } = new URL(url);
      const role = escapeIdentifier(decodeURIComponent(username));
      await unlessThere(client, `CREATE ROLE ${role} LOGIN`);
      await client.query(`ALTER ROLE ${role} LOGIN PASSWORD ${escapeLiteral(decodeURIComponent(password))}`);
      // A superuser that is not one in name (a managed server) must be a member to give a schema away.
      await client.query(`GRANT ${role} TO CURRENT_USER`);
    }
  });

  const inside = new URL(adminUrl);
  inside.pathname = `/${encodeURIComponent(database)}`;
  await connected(inside.href, async (client) => {
    await client.query(`REVOKE ALL ON DATABASE ${escapeIdentifier(database)} FROM PUBLIC`);
    await client.query('REVOKE ALL ON SCHEMA public FROM PUBLIC');
    for (const { schema, url } of corners) {
      const role = escapeIdentifier(decodeURIComponent(new URL(url).username));
      await client.query(`GRANT CONNECT, TEMPORARY ON DATABASE ${escapeIdentifier(database)} TO ${role}`);
      await client.query(`CREATE SCHEMA IF NOT EXISTS ${escapeIdentifier(schema)} AUTHORIZATION ${role}`);
    }
  });
}
