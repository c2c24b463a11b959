import { isId, newId, type Page, type Sql } from '@berth/database';
import type { Workspace } from './entities';

const COLUMNS = 'id, organization_id, name, created_at';

/** A new workspace; undefined when the organization has one of this name. */
export async function insertWorkspace(
  tx: Sql,
  organizationId: string,
  name: string,
): Promise<Workspace | undefined> {
  const [row] = await tx.query<Workspace>(
    `INSERT INTO workspace (id, organization_id, name) VALUES ($1, $2, $3)
     ON CONFLICT ON CONSTRAINT workspace_organization_name DO NOTHING RETURNING ${COLUMNS}`,
    [newId('wo'), organizationId, name],
  );
  return row;
}

export async function findWorkspace(sql: Sql, id: string): Promise<Workspace | undefined> {
  if (!isId('wo', id)) return undefined;
  const [row] = await sql.prepared<Workspace>(
    'find-workspace',
    `SELECT ${COLUMNS} FROM workspace WHERE id = $1`,
    [id],
  );
  return row;
}

/** One page and one row more, oldest first; `only` leaves a single workspace of the organization. */
export const listWorkspaceRows = (
  sql: Sql,
  organizationId: string,
  only: string | undefined,
  { limit, after }: Page,
) =>
  sql.query<Workspace>(
    `SELECT ${COLUMNS} FROM workspace
      WHERE organization_id = $1 AND ($2::text IS NULL OR id = $2) AND ($3::text IS NULL OR id > $3)
      ORDER BY id LIMIT $4`,
    [organizationId, only ?? null, after ?? null, limit + 1],
  );
