import { isId, newId, type Page, type Sql } from '@berth/database';
import { foldersOf, type VolumeEntry } from '../domain/volume';
import type { Volume, VolumeFileRow } from './entities';

const VOLUME = 'id, workspace_id, environment, name, revision, files, bytes, created_at, updated_at';
const FILE = 'path, executable, size, chunks, link, revision, modified_at';

export type VolumeFileView = Omit<VolumeFileRow, 'volume_id'>;

/** The volume of this name: the one that is there, else a new one. Of two that race, both get one. */
export async function ensureVolume(
  sql: Sql,
  { workspaceId, environment, name }: { workspaceId: string; environment: string; name: string },
): Promise<Volume> {
  const [made] = await sql.query<Volume>(
    `INSERT INTO volume (id, workspace_id, environment, name) VALUES ($1, $2, $3, $4)
     ON CONFLICT ON CONSTRAINT volume_environment_name DO NOTHING RETURNING ${VOLUME}`,
    [newId('vo'), workspaceId, environment, name],
  );
  return made ?? (await findVolumeNamed(sql, workspaceId, environment, name))!;
}

export async function findVolumeNamed(
  sql: Sql,
  workspaceId: string,
  environment: string,
  name: string,
): Promise<Volume | undefined> {
  const [row] = await sql.query<Volume>(
    `SELECT ${VOLUME} FROM volume WHERE workspace_id = $1 AND environment = $2 AND name = $3`,
    [workspaceId, environment, name],
  );
  return row;
}

/** A volume of this workspace. */
export async function findVolume(sql: Sql, workspaceId: string, id: string): Promise<Volume | undefined> {
  if (!isId('vo', id)) return undefined;
  const [row] = await sql.query<Volume>(`SELECT ${VOLUME} FROM volume WHERE id = $1 AND workspace_id = $2`, [
    id,
    workspaceId,
  ]);
  return row;
}

/** As findVolume; no other commit comes in between until the transaction ends. */
export async function holdVolume(tx: Sql, workspaceId: string, id: string): Promise<Volume | undefined> {
  if (!isId('vo', id)) return undefined;
  const [row] = await tx.query<Volume>(
    `SELECT ${VOLUME} FROM volume WHERE id = $1 AND workspace_id = $2 FOR UPDATE`,
    [id, workspaceId],
  );
  return row;
}

/** As findVolume; its head stays what it is until the transaction ends. */
export async function holdHead(tx: Sql, workspaceId: string, id: string): Promise<Volume | undefined> {
  const [row] = await tx.query<Volume>(
    `SELECT ${VOLUME} FROM volume WHERE id = $1 AND workspace_id = $2 FOR SHARE`,
    [id, workspaceId],
  );
  return row;
}

export async function deleteVolumeRow(sql: Sql, workspaceId: string, id: string): Promise<boolean> {
  if (!isId('vo', id)) return false;
  const deleted = await sql.query('DELETE FROM volume WHERE id = $1 AND workspace_id = $2 RETURNING id', [
    id,
    workspaceId,
  ]);
  return deleted.length > 0;
}

/** One page and one row more, oldest first. */
export const listVolumeRows = (
  sql: Sql,
  workspaceId: string,
  filter: { environment: string | undefined; name: string | undefined },
  { limit, after }: Page,
) =>
  sql.query<Volume>(
    `SELECT ${VOLUME} FROM volume
      WHERE workspace_id = $1 AND ($2::text IS NULL OR environment = $2) AND ($3::text IS NULL OR name = $3)
        AND ($4::text IS NULL OR id > $4)
      ORDER BY id LIMIT $5`,
    [workspaceId, filter.environment ?? null, filter.name ?? null, after ?? null, limit + 1],
  );

/** Those of these names that there are. */
export const listVolumeNames = async (
  sql: Sql,
  workspaceId: string,
  environment: string,
  names: readonly string[],
): Promise<Set<string>> => {
  const rows = await sql.query<{ name: string }>(
    'SELECT name FROM volume WHERE workspace_id = $1 AND environment = $2 AND name = ANY($3)',
    [workspaceId, environment, names],
  );
  return new Set(rows.map(({ name }) => name));
};

/** What is below a folder stands between `folder/` and `folder0`, since '0' follows '/'. */
const BELOW = "path > $2 || '/' AND path < $2 || '0'";

/** One page and one row more, by path: all, or what is at and below a path. */
export const listVolumeFileRows = (
  sql: Sql,
  volumeId: string,
  path: string,
  { limit, after }: { limit: number; after: string },
) =>
  sql.query<VolumeFileView>(
    `SELECT ${FILE} FROM volume_file
      WHERE volume_id = $1 AND ($2 = '' OR path = $2 OR ${BELOW}) AND path > $3
      ORDER BY path LIMIT $4`,
    [volumeId, path, after, limit + 1],
  );

/** All files of a head that the caller holds. */
export const listWholeHead = (tx: Sql, volumeId: string) =>
  tx.query<VolumeFileView>(`SELECT ${FILE} FROM volume_file WHERE volume_id = $1 ORDER BY path`, [volumeId]);

export async function findVolumeFile(
  sql: Sql,
  volumeId: string,
  path: string,
): Promise<VolumeFileView | undefined> {
  const [row] = await sql.query<VolumeFileView>(
    `SELECT ${FILE} FROM volume_file WHERE volume_id = $1 AND path = $2`,
    [volumeId, path],
  );
  return row;
}

export interface Changes {
  puts: readonly VolumeEntry[];
  removes: readonly string[];
  /** Files that came with a later revision are left alone. */
  unlessChangedSince: number | undefined;
}

/** Writes changes as files of `revision`, and says how many files they touched. The caller holds the volume. */
export async function applyChanges(
  tx: Sql,
  volumeId: string,
  revision: number,
  { puts, removes, unlessChangedSince }: Changes,
): Promise<number> {
  const until = unlessChangedSince ?? Number.MAX_SAFE_INTEGER;
  const removed = await tx.query(
    'DELETE FROM volume_file WHERE volume_id = $1 AND path = ANY($2) AND revision <= $3 RETURNING path',
    [volumeId, removes, until],
  );
  if (puts.length === 0) return removed.length;
  const paths = puts.map(({ path }) => path);
  // A file cannot be where a folder is: the last to come has the place.
  const displaced = await tx.query(
    `DELETE FROM volume_file f WHERE f.volume_id = $1 AND (f.path = ANY($2) OR f.path IN (
       SELECT below.path FROM unnest($3::text[] COLLATE "C") put (path)
         JOIN volume_file below ON below.volume_id = $1
          AND below.path > put.path || '/' AND below.path < put.path || '0'))
     RETURNING path`,
    [volumeId, foldersOf(paths), paths],
  );
  const put = await tx.query(
    `INSERT INTO volume_file (volume_id, path, executable, size, chunks, link, revision)
     SELECT $1, p.path, p.executable, p.size, p.chunks, p.link, $3
       FROM jsonb_to_recordset($2::jsonb)
         AS p (path text, executable boolean, size bigint, chunks text[], link text)
     ON CONFLICT ON CONSTRAINT volume_file_pkey DO UPDATE
       SET executable = EXCLUDED.executable, size = EXCLUDED.size, chunks = EXCLUDED.chunks, link = EXCLUDED.link,
           revision = EXCLUDED.revision, modified_at = now()
       WHERE volume_file.revision <= $4
         AND (volume_file.executable, volume_file.size, volume_file.chunks, volume_file.link)
           IS DISTINCT FROM (EXCLUDED.executable, EXCLUDED.size, EXCLUDED.chunks, EXCLUDED.link)
     RETURNING path`,
    [volumeId, JSON.stringify(puts), revision, until],
  );
  return removed.length + displaced.length + put.length;
}

/** Removes a file, and with `below` whatever is in a folder of that name; how many that were. */
export async function removeFiles(tx: Sql, volumeId: string, path: string, below: boolean): Promise<number> {
  const removed = await tx.query(
    `DELETE FROM volume_file WHERE volume_id = $1 AND (path = $2 OR ($3 AND ($2 = '' OR ${BELOW}))) RETURNING path`,
    [volumeId, path, below],
  );
  return removed.length;
}

export async function isFolder(sql: Sql, volumeId: string, path: string): Promise<boolean> {
  const rows = await sql.query(`SELECT 1 FROM volume_file WHERE volume_id = $1 AND ${BELOW} LIMIT 1`, [
    volumeId,
    path,
  ]);
  return rows.length > 0;
}

export const countFiles = async (tx: Sql, volumeId: string): Promise<{ files: number; bytes: number }> => {
  const [row] = await tx.query<{ files: string; bytes: string }>(
    'SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM volume_file WHERE volume_id = $1',
    [volumeId],
  );
  return { files: Number(row!.files), bytes: Number(row!.bytes) };
};

/** The next head is there. */
export const advanceVolume = (
  tx: Sql,
  volumeId: string,
  { revision, files, bytes }: { revision: number; files: number; bytes: number },
) =>
  tx.query('UPDATE volume SET revision = $2, files = $3, bytes = $4, updated_at = now() WHERE id = $1', [
    volumeId,
    revision,
    files,
    bytes,
  ]);
