import { isId, newId, type Page, type Sql } from '@berth/database';
import type { App, AppState } from './entities';

const COLUMNS =
  'id, organization_id, workspace_id, environment, name, state, tags, created_at, stopped_at, heartbeat_at';

export interface NewApp {
  organizationId: string;
  workspaceId: string;
  environment: string;
  name: string;
  tags: Record<string, string>;
  state: Exclude<AppState, 'stopped'>;
}

/** A new app; undefined for a name that a deployed one of the environment has, unless the new one is ephemeral. */
export async function insertApp(tx: Sql, app: NewApp): Promise<App | undefined> {
  const [row] = await tx.query<App>(
    `INSERT INTO app (id, organization_id, workspace_id, environment, name, tags, state, heartbeat_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $7 = 'ephemeral' THEN now() END)
     ON CONFLICT (workspace_id, environment, name) WHERE state = 'deployed' DO NOTHING
     RETURNING ${COLUMNS}`,
    [
      newId('ap'),
      app.organizationId,
      app.workspaceId,
      app.environment,
      app.name,
      JSON.stringify(app.tags),
      app.state,
    ],
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

/** As holdApp, and alone: nobody makes or changes functions of it until the transaction ends. */
export async function lockApp(tx: Sql, workspaceId: string, id: string): Promise<App | undefined> {
  if (!isId('ap', id)) return undefined;
  const [row] = await tx.query<App>(
    `SELECT ${COLUMNS} FROM app WHERE id = $1 AND workspace_id = $2 FOR UPDATE`,
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

/**
 * Marks it stopped; with `silentFor` (seconds) only if its client is silent for as long still. False: it was stopped
 * before, or the client was heard.
 */
export async function markAppStopped(
  tx: Sql,
  id: string,
  { silentFor }: { silentFor?: number } = {},
): Promise<boolean> {
  const rows = await tx.query(
    `UPDATE app SET state = 'stopped', stopped_at = now()
      WHERE id = $1 AND stopped_at IS NULL
        AND ($2::float8 IS NULL OR heartbeat_at < now() - make_interval(secs => $2)) RETURNING id`,
    [id, silentFor ?? null],
  );
  return rows.length > 0;
}

/** The client of an ephemeral app is there. Undefined for an app that is not ephemeral (any more). */
export async function noteHeartbeat(sql: Sql, workspaceId: string, id: string): Promise<App | undefined> {
  const [row] = await sql.query<App>(
    `UPDATE app SET heartbeat_at = now() WHERE id = $1 AND workspace_id = $2 AND state = 'ephemeral'
      RETURNING ${COLUMNS}`,
    [id, workspaceId],
  );
  return row;
}

/** Ephemeral apps whose client was silent for this long. */
export async function listSilentApps(sql: Sql, silenceSeconds: number): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `SELECT id FROM app WHERE state = 'ephemeral' AND heartbeat_at < now() - make_interval(secs => $1)`,
    [silenceSeconds],
  );
  return rows.map(({ id }) => id);
}
