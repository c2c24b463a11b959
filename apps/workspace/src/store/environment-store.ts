import { newId, type Sql } from '@berth/database';
import type { Environment } from './entities';

const COLUMNS = 'id, workspace_id, name, created_at';

/** A new environment; undefined when the workspace has one of this name. */
export async function insertEnvironment(
  tx: Sql,
  workspaceId: string,
  name: string,
): Promise<Environment | undefined> {
  const [row] = await tx.query<Environment>(
    `INSERT INTO environment (id, workspace_id, name) VALUES ($1, $2, $3)
     ON CONFLICT ON CONSTRAINT environment_workspace_name DO NOTHING RETURNING ${COLUMNS}`,
    [newId('en'), workspaceId, name],
  );
  return row;
}

export async function findEnvironment(
  sql: Sql,
  workspaceId: string,
  name: string,
): Promise<Environment | undefined> {
  const [row] = await sql.prepared<Environment>(
    'find-environment',
    `SELECT ${COLUMNS} FROM environment WHERE workspace_id = $1 AND name = $2`,
    [workspaceId, name],
  );
  return row;
}

/** All of a workspace, by name. */
export const listEnvironmentRows = (sql: Sql, workspaceId: string) =>
  sql.query<Environment>(`SELECT ${COLUMNS} FROM environment WHERE workspace_id = $1 ORDER BY name`, [
    workspaceId,
  ]);
