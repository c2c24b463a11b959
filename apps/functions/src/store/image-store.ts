import { isId, newId, type Page, type Sql } from '@berth/database';
import type { ImageDefinition } from '../domain/image-definition';
import {
  BUILD_SECONDS_MAX,
  IMAGE_TRANSITIONS,
  LEASE_SECONDS,
  LOSSES_MAX,
  lostTooOften,
  tookTooLong,
  type ImageError,
  type ImageState,
} from '../domain/image-state';
import type { Image } from './entities';
import type { PoolKey } from './pool-store';

const COLUMNS =
  'id, workspace_id, content_hash, definition, state, attempt, node_id, error, created_at, started_at, finished_at';
const OF_I = COLUMNS.replaceAll(/\b(\w+)\b/g, 'i.$1');

export type ImageRow = Pick<
  Image,
  | 'id'
  | 'workspace_id'
  | 'content_hash'
  | 'definition'
  | 'state'
  | 'attempt'
  | 'node_id'
  | 'error'
  | 'created_at'
  | 'started_at'
  | 'finished_at'
>;

/**
 * The image of this definition, queued where it was not there or had failed. `queued`: this request did that; of many at
 * once, one.
 */
export async function askForImage(
  tx: Sql,
  asked: { workspaceId: string; contentHash: string; definition: ImageDefinition },
): Promise<{ image: ImageRow; queued: boolean }> {
  const { workspaceId, contentHash, definition } = asked;
  const [made] = await tx.query<ImageRow>(
    `INSERT INTO image (id, workspace_id, content_hash, definition) VALUES ($1, $2, $3, $4)
     ON CONFLICT (workspace_id, content_hash) DO UPDATE
       SET state = 'queued', error = NULL, losses = 0, queued_at = now(), started_at = NULL, finished_at = NULL
       WHERE image.state = ANY($5)
     RETURNING ${COLUMNS}`,
    [newId('im'), workspaceId, contentHash, JSON.stringify(definition), IMAGE_TRANSITIONS.ask.from],
  );
  if (made) return { image: made, queued: true };
  const [there] = await tx.query<ImageRow>(
    `SELECT ${COLUMNS} FROM image WHERE workspace_id = $1 AND content_hash = $2 FOR SHARE`,
    [workspaceId, contentHash],
  );
  // It was deleted between the two statements: the next round makes it.
  return there ? { image: there, queued: false } : askForImage(tx, asked);
}

/** An image of this workspace. */
export async function findImage(sql: Sql, workspaceId: string, id: string): Promise<ImageRow | undefined> {
  if (!isId('im', id)) return undefined;
  const [row] = await sql.query<ImageRow>(
    `SELECT ${COLUMNS} FROM image WHERE id = $1 AND workspace_id = $2`,
    [id, workspaceId],
  );
  return row;
}

/** One page and one row more, newest first. */
export const listImageRows = (
  sql: Sql,
  workspaceId: string,
  states: readonly ImageState[] | undefined,
  { limit, after }: Page,
) =>
  sql.query<ImageRow>(
    `SELECT ${COLUMNS} FROM image
      WHERE workspace_id = $1 AND ($2::text IS NULL OR id < $2) AND ($3::text[] IS NULL OR state = ANY($3))
      ORDER BY id DESC LIMIT $4`,
    [workspaceId, after ?? null, states ?? null, limit + 1],
  );

/**
 * Gives a node the build that has waited longest, of the workspaces with the fewest under way; or one whose runner went
 * silent.
 */
export async function claimImage(sql: Sql, nodeId: string): Promise<ImageRow | undefined> {
  const [row] = await sql.query<ImageRow>(
    `UPDATE image i
        SET state = 'building', attempt = i.attempt + 1, node_id = $1, started_at = now(),
            losses = i.losses + CASE WHEN i.state = 'building' THEN 1 ELSE 0 END,
            lease_until = now() + make_interval(secs => $2)
       FROM (SELECT id FROM image c
              WHERE c.state = 'queued'
                 OR (c.state = 'building' AND c.lease_until < now() AND c.losses + 1 < $3)
              ORDER BY (SELECT count(*) FROM image b WHERE b.workspace_id = c.workspace_id AND b.state = 'building'),
                       c.queued_at
              LIMIT 1 FOR UPDATE SKIP LOCKED) next
      WHERE i.id = next.id
     RETURNING ${OF_I}`,
    [nodeId, LEASE_SECONDS, LOSSES_MAX],
  );
  return row;
}

/** What this node builds is anybody's. */
export const endLeasesOf = (sql: Sql, nodeId: string) =>
  sql.query(`UPDATE image SET lease_until = '-infinity' WHERE node_id = $1 AND state = 'building'`, [nodeId]);

/** The lease begins anew; false for an attempt that is superseded, took too long, or is not wanted any more. */
export async function renewImage(sql: Sql, id: string, attempt: number): Promise<boolean> {
  const [row] = await sql.query(
    `UPDATE image SET lease_until = now() + make_interval(secs => $3)
      WHERE id = $1 AND attempt = $2 AND state = 'building' AND started_at > now() - make_interval(secs => $4)
     RETURNING id`,
    [id, attempt, LEASE_SECONDS, BUILD_SECONDS_MAX],
  );
  return row !== undefined;
}

/** Records how an attempt ended; undefined if it is stale. */
export async function finishImage(
  sql: Sql,
  id: string,
  attempt: number,
  error: ImageError | undefined,
): Promise<ImageRow | undefined> {
  const { from, to } = IMAGE_TRANSITIONS[error ? 'fail' : 'succeed'];
  const [row] = await sql.query<ImageRow>(
    `UPDATE image SET state = $3, error = $4, finished_at = now(), lease_until = NULL, losses = 0
      WHERE id = $1 AND attempt = $2 AND state = ANY($5) RETURNING ${COLUMNS}`,
    [id, attempt, to, error ? JSON.stringify(error) : null, from],
  );
  return row;
}

/** A runner gives a build back; undefined if it is stale, or was lost too often to be tried again. */
export async function loseImage(sql: Sql, id: string, attempt: number): Promise<ImageRow | undefined> {
  const [row] = await sql.query<ImageRow>(
    `UPDATE image SET state = 'queued', losses = losses + 1, lease_until = NULL, node_id = NULL, started_at = NULL
      WHERE id = $1 AND attempt = $2 AND state = 'building' AND losses + 1 < $3 RETURNING ${COLUMNS}`,
    [id, attempt, LOSSES_MAX],
  );
  return row;
}

/** Ends what nobody will: builds that were lost too often, and those that took too long and never said so. */
export const failAbandonedImages = (sql: Sql) =>
  sql.query<ImageRow>(
    `UPDATE image SET state = 'failed', finished_at = now(), lease_until = NULL, losses = 0,
            error = CASE WHEN losses + 1 >= $1 THEN $2::jsonb ELSE $3::jsonb END
      WHERE state = 'building' AND lease_until < now()
        AND (losses + 1 >= $1 OR started_at < now() - make_interval(secs => $4))
     RETURNING ${COLUMNS}`,
    [LOSSES_MAX, JSON.stringify(lostTooOften()), JSON.stringify(tookTooLong()), BUILD_SECONDS_MAX],
  );

/** Versions that run on an image, in pools that are in use. */
export const listPoolsOfImage = async (sql: Sql, imageId: string): Promise<PoolKey[]> =>
  (
    await sql.query<{ function_id: string; version: number }>(
      `SELECT v.function_id, v.version FROM function_version v JOIN pool p USING (function_id, version)
        WHERE v.definition->>'image' = $1 AND p.retired_at IS NULL`,
      [imageId],
    )
  ).map(({ function_id, version }) => ({ functionId: function_id, version }));

/** Images that were built or failed since then. */
export const listFinishedSince = (sql: Sql, since: Date) =>
  sql.query<{ id: string }>('SELECT id FROM image WHERE finished_at > $1', [since]);

/** Locks it until the transaction ends; undefined where the workspace has none of this id. */
export async function lockImage(tx: Sql, workspaceId: string, id: string): Promise<ImageRow | undefined> {
  if (!isId('im', id)) return undefined;
  const [row] = await tx.query<ImageRow>(
    `SELECT ${COLUMNS} FROM image WHERE id = $1 AND workspace_id = $2 FOR UPDATE`,
    [id, workspaceId],
  );
  return row;
}

export const deleteImageRow = (tx: Sql, id: string) => tx.query('DELETE FROM image WHERE id = $1', [id]);

/** A function that new calls, or open ones, would run on this image, or that has containers of it. */
export async function findUser(sql: Sql, imageId: string): Promise<string | undefined> {
  const [row] = await sql.query<{ name: string }>(
    `SELECT a.name || '.' || f.name AS name
       FROM function_version v JOIN pool p USING (function_id, version) JOIN function f ON f.id = v.function_id
       JOIN app a ON a.id = f.app_id
      WHERE v.definition->>'image' = $1 AND p.retired_at IS NULL AND (a.stopped_at IS NULL OR p.wish > 0) LIMIT 1`,
    [imageId],
  );
  return row?.name;
}

/** The image that a version runs on, where it is one of ours. */
export async function findImageOfVersion(
  sql: Sql,
  functionId: string,
  version: number,
): Promise<ImageRow | undefined> {
  const [row] = await sql.query<ImageRow>(
    `SELECT ${OF_I} FROM image i JOIN function_version v ON v.definition->>'image' = i.id
      WHERE v.function_id = $1 AND v.version = $2`,
    [functionId, version],
  );
  return row;
}
