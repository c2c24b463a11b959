import { isId, newId, type Page, type Sql } from '@berth/database';
import type { App, AppState } from './entities';

const COLUMNS = 'id, organization_id, workspace_id, environment, name, state, tags, created_at, stopped_at';

export interface NewApp {
  organizationId: string;
  workspaceId: string;
  environment: string;
  name: string;
  tags: Record<string, string>;
}

/** A new app; undefined when a live one of the environment has this name. */
export async function insertApp(tx: Sql, app: NewApp): Promise<App | undefined> {
  const [row] = await tx.query<App>(
    `INSERT INTO app (id, organization_id, workspace_id, environment, name, tags)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (workspace_id, environment, name) WHERE stopped_at IS NULL DO NOTHING
     RETURNING ${COLUMNS}`,
    [newId('ap'), app.organizationId, app.workspaceId, app.environment, app.name, JSON.stringify(app.tags)],
  );
  return row;
}

/** An app of this workspace. */
export async function findApp(sql: Sql, workspaceId: string, id: string): Promise<App | undefined> {
  if (!isId('ap', id)) return undefined;
  const [row] = await sql.query<App>(`SELECT ${COLUMNS} FROM app WHERE id = $1 AND workspace_id = $2`, [
    id,
    workspaceId,
  ]);
  return row;
}

/** As findApp; its state stays as it is until the transaction ends. */
export async function holdApp(tx: Sql, workspaceId: string, id: string): Promise<App | undefined> {
  if (!isId('ap', id)) return undefined;
  const [row] = await tx.query<App>(
    `SELECT ${COLUMNS} FROM app WHERE id = $1 AND workspace_id = $2 FOR SHARE`,
    [id, workspaceId],
  );
  return row;
}

export interface AppFilter {
  environment: string | undefined;
  state: AppState | undefined;
  name: string | undefined;
}

/** One page and one row more, newest first. */
export const listAppRows = (sql: Sql, workspaceId: string, filter: AppFilter, { limit, after }: Page) =>
  sql.query<App>(
    `SELECT ${COLUMNS} FROM app
      WHERE workspace_id = $1 AND ($2::text IS NULL OR id < $2)
        AND ($3::text IS NULL OR environment = $3) AND ($4::text IS NULL OR state = $4)
        AND ($5::text IS NULL OR name = $5)
      ORDER BY id DESC LIMIT $6`,
    [
      workspaceId,
      after ?? null,
      filter.environment ?? null,
      filter.state ?? null,
      filter.name ?? null,
      limit + 1,
    ],
  );

/** Marks it stopped; a stopped one stays as it is. */
export const markAppStopped = (tx: Sql, id: string) =>
  tx.query(`UPDATE app SET state = 'stopped', stopped_at = now() WHERE id = $1 AND stopped_at IS NULL`, [id]);
