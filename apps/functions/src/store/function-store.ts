import { isId, newId, type Page, type Sql } from '@berth/database';
import type { Definition } from '../domain/definition';
import { webLabel } from '../domain/web';
import type { Func, FunctionVersion } from './entities';

/** A function with the version that new calls run. */
export type CurrentFunction = Omit<FunctionVersion, 'created_at'> &
  Pick<Func, 'app_id' | 'name' | 'web_label' | 'created_at' | 'deleted_at' | 'base_id' | 'parameters'> & {
    next_run_at: Date | null;
  };

const CURRENT = `f.id AS function_id, f.app_id, f.name, f.web_label, f.created_at, f.deleted_at, f.base_id, f.parameters,
  s.next_at AS next_run_at, v.version, v.definition, v.source`;
const FROM_CURRENT = `FROM function f JOIN function_version v ON v.function_id = f.id AND v.version = f.version
  LEFT JOIN schedule s ON s.function_id = f.id`;

/** A new function, without a version; undefined when the app has one of this name. */
export async function insertFunction(
  tx: Sql,
  app: { id: string; workspace_id: string; name: string },
  name: string,
): Promise<Func | undefined> {
  const id = newId('fu');
  const [row] = await tx.query<Func>(
    `INSERT INTO function (id, app_id, workspace_id, name, web_label) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (app_id, name) WHERE deleted_at IS NULL DO NOTHING
     RETURNING id, app_id, workspace_id, name, web_label, version, base_id, parameters, created_at, deleted_at`,
    [id, app.id, app.workspace_id, name, webLabel(app.name, name, id)],
  );
  return row;
}

/** Makes a next version, after all there are, the one that new calls run; the row stays locked until the transaction ends. */
export async function advanceVersion(tx: Sql, functionId: string): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    `UPDATE function SET version = 1 + (SELECT max(version) FROM function_version WHERE function_id = $1)
      WHERE id = $1 RETURNING version`,
    [functionId],
  );
  if (!row) throw new Error(`function ${functionId} is gone, and rows of functions are never deleted`);
  return row.version;
}

/** A version of a function, with a pool of no containers yet. */
export async function insertVersion(
  tx: Sql,
  functionId: string,
  version: number,
  definition: Definition,
  source: string,
): Promise<void> {
  await tx.query(
    'INSERT INTO function_version (function_id, version, definition, source) VALUES ($1, $2, $3, $4)',
    [functionId, version, JSON.stringify(definition), source],
  );
  await tx.query('INSERT INTO pool (function_id, version) VALUES ($1, $2)', [functionId, version]);
  await followBase(tx, functionId);
}

/** Gives what is bound to a function the version that it has now, each with a pool of its own. */
export async function followBase(tx: Sql, baseId: string): Promise<void> {
  const bound = await tx.query(
    'UPDATE function b SET version = f.version FROM function f WHERE b.base_id = f.id AND f.id = $1 RETURNING b.id',
    [baseId],
  );
  if (bound.length === 0) return;
  await tx.query(
    `INSERT INTO function_version (function_id, version, definition, source)
     SELECT b.id, v.version, v.definition, v.source
       FROM function b JOIN function_version v ON v.function_id = b.base_id AND v.version = b.version
      WHERE b.base_id = $1 ON CONFLICT DO NOTHING`,
    [baseId],
  );
  await tx.query(
    `INSERT INTO pool (function_id, version) SELECT id, version FROM function WHERE base_id = $1
     ON CONFLICT (function_id, version) DO UPDATE SET retired_at = NULL`,
    [baseId],
  );
}

/** A function bound to these parameters, the same each time. The caller has locked `base`. */
export async function bindFunction(
  tx: Sql,
  base: Pick<CurrentFunction, 'function_id' | 'name'>,
  parameters: string,
): Promise<string> {
  const [earlier] = await tx.query<{ id: string }>(
    'SELECT id FROM function WHERE base_id = $1 AND parameters = $2',
    [base.function_id, parameters],
  );
  if (earlier) return earlier.id;
  const id = newId('fu');
  // No name can have brackets, so none is taken by this.
  await tx.query(
    `INSERT INTO function (id, app_id, workspace_id, name, web_label, version, base_id, parameters)
     SELECT $2, app_id, workspace_id, name || '(' || $3 || ')', lower($3), version, id, $4 FROM function WHERE id = $1`,
    [base.function_id, id, id, parameters],
  );
  await followBase(tx, base.function_id);
  return id;
}

/** A function of this workspace. */
export async function findFunction(
  sql: Sql,
  workspaceId: string,
  id: string,
): Promise<CurrentFunction | undefined> {
  if (!isId('fu', id)) return undefined;
  const [row] = await sql.query<CurrentFunction>(
    `SELECT ${CURRENT} ${FROM_CURRENT} WHERE f.id = $1 AND f.workspace_id = $2`,
    [id, workspaceId],
  );
  return row;
}

/** One page and one row more, by name. */
export const listFunctionRows = (sql: Sql, appId: string, name: string | undefined, { limit, after }: Page) =>
  sql.query<CurrentFunction>(
    `SELECT ${CURRENT} ${FROM_CURRENT}
      WHERE f.app_id = $1 AND f.deleted_at IS NULL AND f.base_id IS NULL AND ($2::text IS NULL OR f.name = $2) AND ($3::text IS NULL OR f.name > $3)
      ORDER BY f.name LIMIT $4`,
    [appId, name ?? null, after ?? null, limit + 1],
  );

export interface FunctionNames {
  environment: string;
  app: string | undefined;
  name: string | undefined;
}

/** Functions of deployed apps by exact names: one page and one row more, newest first. */
export const findFunctionRows = (
  sql: Sql,
  workspaceId: string,
  { environment, app, name }: FunctionNames,
  { limit, after }: Page,
) =>
  sql.query<CurrentFunction>(
    `SELECT ${CURRENT} ${FROM_CURRENT} JOIN app a ON a.id = f.app_id
      WHERE a.workspace_id = $1 AND a.environment = $2 AND a.state = 'deployed' AND f.deleted_at IS NULL AND f.base_id IS NULL
        AND ($3::text IS NULL OR a.name = $3) AND ($4::text IS NULL OR f.name = $4)
        AND ($5::text IS NULL OR f.id < $5)
      ORDER BY f.id DESC LIMIT $6`,
    [workspaceId, environment, app ?? null, name ?? null, after ?? null, limit + 1],
  );

/** Keeps a function's row as it is until the transaction ends. */
export const lockFunction = (tx: Sql, id: string) =>
  tx.query('SELECT FROM function WHERE id = $1 FOR UPDATE', [id]);

/** A version with what its containers need to know of its app. */
export type VersionInApp = FunctionVersion &
  Pick<Func, 'app_id' | 'workspace_id'> & {
    organization_id: string;
    environment: string;
    current: boolean;
    ended: boolean;
    deleted: boolean;
    parameters: string | null;
  };

/** Undefined where there is no such version. `current`: new calls run it; `ended`: its app or function takes none. */
export async function findVersion(
  sql: Sql,
  functionId: string,
  version: number,
): Promise<VersionInApp | undefined> {
  const [row] = await sql.prepared<VersionInApp>(
    'find-version',
    `SELECT v.function_id, v.version, v.definition, v.source, v.created_at,
            f.app_id, f.workspace_id, a.organization_id, a.environment,
            f.version = v.version AND a.stopped_at IS NULL AND f.deleted_at IS NULL AS current,
            a.stopped_at IS NOT NULL OR f.deleted_at IS NOT NULL AS ended,
            f.deleted_at IS NOT NULL AS deleted, f.parameters
       FROM function_version v JOIN function f ON f.id = v.function_id JOIN app a ON a.id = f.app_id
      WHERE v.function_id = $1 AND v.version = $2`,
    [functionId, version],
  );
  return row;
}

/** The versions of an app's functions, superseded ones included. */
export const listVersionsOfApp = (sql: Sql, appId: string) =>
  sql.query<{ function_id: string; version: number }>(
    `SELECT v.function_id, v.version FROM function_version v JOIN function f ON f.id = v.function_id
      WHERE f.app_id = $1`,
    [appId],
  );

/** All versions of one function, and of what is bound to it. */
export const listVersionsOf = (sql: Sql, functionId: string) =>
  sql.query<{ function_id: string; version: number }>(
    `SELECT v.function_id, v.version FROM function_version v JOIN function f ON f.id = v.function_id
      WHERE f.id = $1 OR f.base_id = $1`,
    [functionId],
  );
