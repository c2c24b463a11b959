import { isId, newId, type Page, type Sql } from '@berth/database';
import type { TokenTerms } from '../domain/api-token';
import { hashSecret, newTokenSecret } from '../domain/credential';
import type { ApiToken } from './entities';

/** All but the hash, which leaves the store only to be compared. */
export type ApiTokenRow = Omit<ApiToken, 'secret_hash'>;

const COLUMNS = 'id, organization_id, workspace_id, user_id, role, name, created_at, expires_at, revoked_at';

/** Whether this user is a member of the organization. */
export async function isMember(tx: Sql, organizationId: string, userId: string): Promise<boolean> {
  if (!isId('us', userId)) return false;
  const rows = await tx.query('SELECT FROM membership WHERE organization_id = $1 AND user_id = $2', [
    organizationId,
    userId,
  ]);
  return rows.length > 0;
}

export interface TokenHolder {
  organizationId: string;
  workspaceId: string;
  userId: string;
}

/** A new API token. The secret is nowhere but in the answer. */
export async function insertApiToken(
  tx: Sql,
  { organizationId, workspaceId, userId }: TokenHolder,
  { name, role, expiresAt }: TokenTerms,
): Promise<{ row: ApiTokenRow; secret: string }> {
  const secret = newTokenSecret();
  const [row] = await tx.query<ApiTokenRow>(
    `INSERT INTO api_token (id, secret_hash, organization_id, workspace_id, user_id, role, name, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ${COLUMNS}`,
    [newId('ak'), hashSecret(secret), organizationId, workspaceId, userId, role, name, expiresAt ?? null],
  );
  return { row: row!, secret };
}

/** One page and one row more, newest first. */
export const listApiTokenRows = (sql: Sql, organizationId: string, { limit, after }: Page) =>
  sql.query<ApiTokenRow>(
    `SELECT ${COLUMNS} FROM api_token
      WHERE organization_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [organizationId, after ?? null, limit + 1],
  );

/** Ends a token; of several that try, one is told `revoked`. */
export async function revoke(
  tx: Sql,
  organizationId: string,
  tokenId: string,
): Promise<'revoked' | 'was_revoked' | 'none'> {
  if (!isId('ak', tokenId)) return 'none';
  const [ended] = await tx.query(
    `UPDATE api_token SET revoked_at = now()
      WHERE id = $1 AND organization_id = $2 AND revoked_at IS NULL RETURNING id`,
    [tokenId, organizationId],
  );
  if (ended) return 'revoked';
  const [there] = await tx.query('SELECT id FROM api_token WHERE id = $1 AND organization_id = $2', [
    tokenId,
    organizationId,
  ]);
  return there ? 'was_revoked' : 'none';
}
