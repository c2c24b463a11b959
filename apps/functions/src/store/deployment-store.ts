import type { Page, Sql } from '@berth/database';
import type { DeployedVersion } from '../domain/deployment';
import type { Deployment } from './entities';

const COLUMNS = 'app_id, number, functions, rollback_of, created_at';

/** The live functions of an app, by name, with the versions that new calls run. */
export const currentVersions = (sql: Sql, appId: string) =>
  sql.query<DeployedVersion>(
    `SELECT id AS function_id, name, version FROM function
      WHERE app_id = $1 AND deleted_at IS NULL AND base_id IS NULL ORDER BY name`,
    [appId],
  );

export async function lastDeployment(sql: Sql, appId: string): Promise<Deployment | undefined> {
  const [row] = await sql.query<Deployment>(
    `SELECT ${COLUMNS} FROM deployment WHERE app_id = $1 ORDER BY number DESC LIMIT 1`,
    [appId],
  );
  return row;
}

export async function findDeployment(
  sql: Sql,
  appId: string,
  number: number,
): Promise<Deployment | undefined> {
  const [row] = await sql.query<Deployment>(
    `SELECT ${COLUMNS} FROM deployment WHERE app_id = $1 AND number = $2`,
    [appId, number],
  );
  return row;
}

/** The next deployment of an app whose row this transaction has locked. */
export async function insertDeployment(
  tx: Sql,
  appId: string,
  functions: readonly DeployedVersion[],
  rollbackOf: number | null,
): Promise<Deployment> {
  const [row] = await tx.query<Deployment>(
    `INSERT INTO deployment (app_id, number, functions, rollback_of)
     SELECT $1, coalesce(max(number), 0) + 1, $2, $3 FROM deployment WHERE app_id = $1
     RETURNING ${COLUMNS}`,
    [appId, JSON.stringify(functions), rollbackOf],
  );
  return row!;
}

/** One page and one row more, newest first. */
export const listDeploymentRows = (sql: Sql, appId: string, before: number | undefined, { limit }: Page) =>
  sql.query<Deployment>(
    `SELECT ${COLUMNS} FROM deployment WHERE app_id = $1 AND ($2::integer IS NULL OR number < $2)
      ORDER BY number DESC LIMIT $3`,
    [appId, before ?? null, limit + 1],
  );
