import type { Sql } from '@berth/database';
import type { Web } from '../domain/definition';

/** A function that answers on the web now: its app runs, and its current version is a web endpoint. */
export interface WebFunction {
  function_id: string;
  workspace_id: string;
  web: Web;
}

const LIVE = `
  SELECT f.id AS function_id, f.workspace_id, v.definition->'web' AS web
    FROM function f JOIN app a ON a.id = f.app_id
    JOIN function_version v ON v.function_id = f.id AND v.version = f.version
   WHERE a.stopped_at IS NULL AND f.deleted_at IS NULL AND jsonb_typeof(v.definition->'web') = 'object'`;

export async function findWebFunction(sql: Sql, label: string): Promise<WebFunction | undefined> {
  const [row] = await sql.prepared<WebFunction>('find-web-function', `${LIVE} AND f.web_label = $1`, [label]);
  return row;
}

export async function findWebFunctionById(sql: Sql, id: string): Promise<WebFunction | undefined> {
  const [row] = await sql.prepared<WebFunction>('find-web-function-by-id', `${LIVE} AND f.id = $1`, [id]);
  return row;
}
