import { isId, newId, type Sql } from '@berth/database';
import { contentHashOf, type ManifestEntry } from '../domain/manifest';
import type { Tree } from './entities';

const COLUMNS = 'id, workspace_id, content_hash, manifest, created_at';

/** The workspace's tree of this manifest: the one that is there, else a new one. Of two that race, both get one. */
export async function ensureTree(sql: Sql, workspaceId: string, manifest: ManifestEntry[]): Promise<Tree> {
  const contentHash = contentHashOf(manifest);
  const find = async () => {
    const [tree] = await sql.prepared<Tree>(
      'find-tree-by-content',
      `SELECT ${COLUMNS} FROM tree WHERE workspace_id = $1 AND content_hash = $2`,
      [workspaceId, contentHash],
    );
    return tree;
  };
  const earlier = await find();
  if (earlier) return earlier;

  const [made] = await sql.query<Tree>(
    `INSERT INTO tree (id, workspace_id, content_hash, manifest) VALUES ($1, $2, $3, $4)
     ON CONFLICT ON CONSTRAINT tree_workspace_content DO NOTHING RETURNING ${COLUMNS}`,
    [newId('tr'), workspaceId, contentHash, JSON.stringify(manifest)],
  );
  return made ?? (await find())!; // Whoever came first has committed: the insert waited for it.
}

export async function findTree(sql: Sql, workspaceId: string, treeId: string): Promise<Tree | undefined> {
  if (!isId('tr', treeId) || !isId('wo', workspaceId)) return undefined;
  const [tree] = await sql.prepared<Tree>(
    'find-tree',
    `SELECT ${COLUMNS} FROM tree WHERE id = $1 AND workspace_id = $2`,
    [treeId, workspaceId],
  );
  return tree;
}
