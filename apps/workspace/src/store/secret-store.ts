import { isId, newId, type Page, type Sql } from '@berth/database';
import type { Secret } from './entities';
import type { Sealed } from './seal';

/** A secret without what is sealed in it, under its environment's name. */
export type SecretView = Omit<Secret, 'environment_id' | 'sealed' | 'key_id'> & { environment: string };

export interface NewSecret extends Sealed {
  id: string;
  workspaceId: string;
  environmentId: string;
  name: string;
  variables: string[];
}

const VIEW = 's.id, s.workspace_id, e.name AS environment, s.name, s.variables, s.created_at, s.updated_at';

export const newSecretId = () => newId('st');

/** A new secret; false when the environment has one of this name. */
export async function insertSecret(tx: Sql, secret: NewSecret): Promise<boolean> {
  const { id, workspaceId, environmentId, name, variables, sealed, keyId } = secret;
  const made = await tx.query(
    `INSERT INTO secret (id, workspace_id, environment_id, name, variables, sealed, key_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT ON CONSTRAINT secret_environment_name DO NOTHING RETURNING id`,
    [id, workspaceId, environmentId, name, variables, sealed, keyId],
  );
  return made.length > 0;
}

/** A secret of this workspace. */
export async function findSecret(sql: Sql, workspaceId: string, id: string): Promise<SecretView | undefined> {
  if (!isId('st', id)) return undefined;
  const [row] = await sql.query<SecretView>(
    `SELECT ${VIEW} FROM secret s JOIN environment e ON e.id = s.environment_id
      WHERE s.id = $1 AND s.workspace_id = $2`,
    [id, workspaceId],
  );
  return row;
}

/** Puts other variables in its place; false where there is none in this workspace. */
export async function replaceSecret(
  tx: Sql,
  workspaceId: string,
  id: string,
  { variables, sealed, keyId }: Pick<NewSecret, 'variables' | 'sealed' | 'keyId'>,
): Promise<boolean> {
  if (!isId('st', id)) return false;
  const replaced = await tx.query(
    `UPDATE secret SET variables = $3, sealed = $4, key_id = $5, updated_at = now()
      WHERE id = $1 AND workspace_id = $2 RETURNING id`,
    [id, workspaceId, variables, sealed, keyId],
  );
  return replaced.length > 0;
}

/** False where there is none in this workspace. */
export async function deleteSecretRow(sql: Sql, workspaceId: string, id: string): Promise<boolean> {
  if (!isId('st', id)) return false;
  const deleted = await sql.query('DELETE FROM secret WHERE id = $1 AND workspace_id = $2 RETURNING id', [
    id,
    workspaceId,
  ]);
  return deleted.length > 0;
}

/** One page and one row more, oldest first. */
export const listSecretRows = (
  sql: Sql,
  workspaceId: string,
  filter: { environmentId: string | undefined; name: string | undefined },
  { limit, after }: Page,
) =>
  sql.query<SecretView>(
    `SELECT ${VIEW} FROM secret s JOIN environment e ON e.id = s.environment_id
      WHERE s.workspace_id = $1 AND ($2::text IS NULL OR s.environment_id = $2)
        AND ($3::text IS NULL OR s.name = $3) AND ($4::text IS NULL OR s.id > $4)
      ORDER BY s.id LIMIT $5`,
    [workspaceId, filter.environmentId ?? null, filter.name ?? null, after ?? null, limit + 1],
  );

export type SealedSecret = Pick<Secret, 'id' | 'name' | 'sealed' | 'key_id'>;

/** Those of these names that there are, in no order. */
export const listSealedSecrets = (
  sql: Sql,
  { workspaceId, environment, names }: { workspaceId: string; environment: string; names: readonly string[] },
) =>
  sql.prepared<SealedSecret>(
    'list-sealed-secrets',
    `SELECT s.id, s.name, s.sealed, s.key_id FROM secret s JOIN environment e ON e.id = s.environment_id
      WHERE e.workspace_id = $1 AND e.name = $2 AND s.name = ANY($3)`,
    [workspaceId, environment, names],
  );

/** The next that another key than this one sealed, for as long as the transaction holds them. */
export const holdSecretsOfOtherKeys = (tx: Sql, keyId: string, after: string, limit: number) =>
  tx.query<SealedSecret>(
    `SELECT id, name, sealed, key_id FROM secret WHERE key_id <> $1 AND id > $2 ORDER BY id LIMIT $3
      FOR UPDATE SKIP LOCKED`,
    [keyId, after, limit],
  );

/** The same values under another key: to everybody but the seal nothing has changed. */
export const resealSecret = (tx: Sql, id: string, { sealed, keyId }: Sealed) =>
  tx.query('UPDATE secret SET sealed = $2, key_id = $3 WHERE id = $1', [id, sealed, keyId]);
