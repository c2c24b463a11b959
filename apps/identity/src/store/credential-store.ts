import type { Sql } from '@berth/database';
import type { UserPrincipal } from '@berth/service-kit';
import type { Presented, Stored } from '../domain/credential';
import type { AdminKey, ApiToken } from './entities';

/** A stored credential with the principal that it stands for. */
export interface Holder extends Stored {
  principal: UserPrincipal;
}

/** The credential that was presented, whether or not it still opens; undefined when there is none. */
export async function findHolder(sql: Sql, presented: Presented): Promise<Holder | undefined> {
  return presented.kind === 'api_token' ? findApiToken(sql, presented.id) : findAdminKey(sql, presented.hash);
}

async function findApiToken(sql: Sql, id: string): Promise<Holder | undefined> {
  const [row] = await sql.prepared<ApiToken>(
    'find-api-token',
    `SELECT id, secret_hash, organization_id, workspace_id, user_id, role, expires_at, revoked_at
       FROM api_token WHERE id = $1`,
    [id],
  );
  if (!row) return undefined;
  const principal: UserPrincipal = {
    kind: 'user',
    credentialKind: 'api_token',
    credentialId: row.id,
    organizationId: row.organization_id,
    workspaceId: row.workspace_id,
    userId: row.user_id,
    role: row.role,
    scope: 'workspace',
  };
  return { ...row, principal };
}

/** By its hash, which is its name: how long an index takes to miss tells nothing of the key. */
async function findAdminKey(sql: Sql, hash: Buffer): Promise<Holder | undefined> {
  const [row] = await sql.prepared<AdminKey>(
    'find-admin-key',
    `SELECT id, secret_hash, organization_id, user_id, expires_at, revoked_at
       FROM admin_key WHERE secret_hash = $1`,
    [hash],
  );
  if (!row) return undefined;
  const principal: UserPrincipal = {
    kind: 'user',
    credentialKind: 'admin_key',
    credentialId: row.id,
    organizationId: row.organization_id,
    workspaceId: '',
    userId: row.user_id,
    role: 'owner',
    scope: 'organization',
  };
  return { ...row, principal };
}
