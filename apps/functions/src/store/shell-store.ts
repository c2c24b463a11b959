import type { Sql } from '@berth/database';
import type { Shell } from './entities';

export type NewShell = Omit<Shell, 'heard_at'>;

/**
 * Records a shell, or that it is heard again, unless its workspace has `max` others; whether it did. Shells of one
 * workspace are counted one after the other.
 */
export async function recordShell(
  tx: Sql,
  { id, workspace_id, spec }: NewShell,
  max: number,
): Promise<boolean> {
  await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('shell ' || $1, 0))`, [workspace_id]);
  const rows = await tx.query(
    `INSERT INTO shell AS s (id, workspace_id, spec)
     SELECT $1, $2, $3 WHERE (SELECT count(*) FROM shell WHERE workspace_id = $2 AND id <> $1) < $4
     ON CONFLICT (id) DO UPDATE SET heard_at = now() WHERE s.workspace_id = excluded.workspace_id
     RETURNING id`,
    [id, workspace_id, spec, max],
  );
  return rows.length > 0;
}

export async function hearShell(sql: Sql, id: string): Promise<void> {
  await sql.query('UPDATE shell SET heard_at = now() WHERE id = $1', [id]);
}

export const listSilentShells = (sql: Sql, silenceSeconds: number) =>
  sql.query<NewShell>(
    `SELECT id, workspace_id, spec FROM shell WHERE heard_at < now() - make_interval(secs => $1)
      ORDER BY heard_at LIMIT 100`,
    [silenceSeconds],
  );

export async function removeShell(sql: Sql, id: string): Promise<void> {
  await sql.query('DELETE FROM shell WHERE id = $1', [id]);
}
