import { isId, newId, type Page, type Sql } from '@berth/database';
import { hashSecret, newProxySecret, type Stored } from '../domain/credential';
import type { ProxyToken } from './entities';

/** All but the hash, which leaves the store only to be compared. */
export type ProxyTokenRow = Omit<ProxyToken, 'secret_hash'>;

const COLUMNS = 'id, organization_id, workspace_id, name, created_at, expires_at, revoked_at';

/** A new proxy token. The secret is nowhere but in the answer. */
export async function insertProxyToken(
  tx: Sql,
  holder: { organizationId: string; workspaceId: string },
  { name, expiresAt }: { name: string; expiresAt: Date | undefined },
): Promise<{ row: ProxyTokenRow; secret: string }> {
  const secret = newProxySecret();
  const [row] = await tx.query<ProxyTokenRow>(
    `INSERT INTO proxy_token (id, secret_hash, organization_id, workspace_id, name, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${COLUMNS}`,
    [newId('wk'), hashSecret(secret), holder.organizationId, holder.workspaceId, name, expiresAt ?? null],
  );
  return { row: row!, secret };
}

/** One page and one row more, newest first. */
export const listProxyTokenRows = (sql: Sql, workspaceId: string, { limit, after }: Page) =>
  sql.query<ProxyTokenRow>(
    `SELECT ${COLUMNS} FROM proxy_token
      WHERE workspace_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [workspaceId, after ?? null, limit + 1],
  );

/** Ends a token; of several that try, one is told `revoked`. */
export async function revokeProxyTokenRow(
  tx: Sql,
  workspaceId: string,
  tokenId: string,
): Promise<'revoked' | 'was_revoked' | 'none'> {
  if (!isId('wk', tokenId)) return 'none';
  const [ended] = await tx.query(
    `UPDATE proxy_token SET revoked_at = now()
      WHERE id = $1 AND workspace_id = $2 AND revoked_at IS NULL RETURNING id`,
    [tokenId, workspaceId],
  );
  if (ended) return 'revoked';
  const [there] = await tx.query('SELECT id FROM proxy_token WHERE id = $1 AND workspace_id = $2', [
    tokenId,
    workspaceId,
  ]);
  return there ? 'was_revoked' : 'none';
}

/** A token whether or not it still opens; undefined when there is none. */
export async function findProxyToken(
  sql: Sql,
  id: string,
): Promise<(Stored & { workspace_id: string }) | undefined> {
  const [row] = await sql.prepared<Stored & { workspace_id: string }>(
    'find-proxy-token',
    'SELECT secret_hash, workspace_id, expires_at, revoked_at FROM proxy_token WHERE id = $1',
    [id],
  );
  return row;
}
