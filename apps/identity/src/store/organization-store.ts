import { newId, type Sql } from '@berth/database';
import { hashSecret, newAdminKey } from '../domain/credential';

export interface OrganizationWithOwner {
  organizationId: string;
  ownerUserId: string;
  /** Whether this call made it. */
  isNew: boolean;
}

/** The organization of this name with its owner, made if it is not there. Of two that race, the second finds the first's. */
export async function ensureOrganization(
  tx: Sql,
  name: string,
  ownerEmail: string,
): Promise<OrganizationWithOwner> {
  const [made] = await tx.query<{ id: string }>(
    'INSERT INTO organization (id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id',
    [newId('or'), name],
  );
  if (!made) return { ...(await findWithOwner(tx, name)), isNew: false };

  const [owner] = await tx.query<{ id: string }>(
    `INSERT INTO app_user (id, email) VALUES ($1, $2)
     ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING id`,
    [newId('us'), ownerEmail],
  );
  await tx.query(`INSERT INTO membership (organization_id, user_id, role) VALUES ($1, $2, 'owner')`, [
    made.id,
    owner!.id,
  ]);
  return { organizationId: made.id, ownerUserId: owner!.id, isNew: true };
}

async function findWithOwner(tx: Sql, name: string) {
  const [row] = await tx.query<{ organization_id: string; user_id: string }>(
    `SELECT m.organization_id, m.user_id FROM organization o JOIN membership m ON m.organization_id = o.id
      WHERE o.name = $1 AND m.role = 'owner' ORDER BY m.created_at, m.user_id LIMIT 1`,
    [name],
  );
  if (!row) throw new Error('an organization has no owner');
  return { organizationId: row.organization_id, ownerUserId: row.user_id };
}

/** A new admin key of the organization, in the name of a member. The key is nowhere but in the answer. */
export async function insertAdminKey(
  tx: Sql,
  organizationId: string,
  userId: string,
): Promise<{ id: string; key: string }> {
  const id = newId('ak');
  const key = newAdminKey();
  await tx.query(
    'INSERT INTO admin_key (id, secret_hash, organization_id, user_id) VALUES ($1, $2, $3, $4)',
    [id, hashSecret(key), organizationId, userId],
  );
  return { id, key };
}
