import { newId, type Page, type Sql } from '@berth/database';
import { isFinal, TRANSITIONS, type ContainerEvent } from '../domain/container-state';
import type { GpuChoice } from '../domain/gpu';
import type { Counted } from '../domain/wish';
import type { Container, ContainerError, Device, PhaseRow } from './entities';

/** What shows of a container: its row without the spec, the cards that it holds, its place in line while it waits. */
export type ContainerView = Omit<Container, 'spec' | 'owner' | 'millicores' | 'memory_mib' | 'gpu'> & {
  devices: Omit<Device, 'node_id' | 'gone'>[];
  place: number | null;
};

const DEVICES = `(
  SELECT coalesce(json_agg(json_build_object(
           'id', d.id, 'index', d.index, 'model', d.model, 'memory_mib', d.memory_mib, 'uuid', d.uuid,
           'simulated', d.simulated, 'container_id', d.container_id) ORDER BY d.index), '[]')
    FROM device d WHERE d.container_id = c.id) AS devices`;

/**
 * The place in line of every container that waits, by id. It hangs on nothing outside, so Postgres numbers the line once
 * for a statement, and not at all for one that shows nobody who waits. Measured with a thousand who wait, while their
 * wish holds the placement lock: 11 ms, where a count for each of them took 138.
 */
const LINE = `(
  SELECT jsonb_object_agg(p.id, p.place)
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM container WHERE state = 'pending') p)`;

const VIEW = `
  SELECT c.id, c.organization_id, c.workspace_id, c.app_id, c.function_id, c.version, c.state, c.node_id,
         c.created_at, c.placed_at, c.started_at, c.ready_at, c.stopping_at, c.ended_at, c.reason, c.phases, c.error,
         ${DEVICES},
         CASE WHEN c.state = 'pending' THEN (${LINE} ->> c.id)::integer END AS place
    FROM container c`;

/** In the order of their ids. */
export const viewContainers = (sql: Sql, ids: readonly string[]) =>
  sql.prepared<ContainerView>('view-containers', `${VIEW} WHERE c.id = ANY($1) ORDER BY c.id`, [ids]);

/** Those that count towards an owner's wish. */
export const viewCounted = (sql: Sql, owner: string) =>
  sql.prepared<ContainerView>(
    'view-counted',
    `${VIEW} WHERE c.owner = $1 AND c.ended_at IS NULL AND c.state <> 'stopping' ORDER BY c.id`,
    [owner],
  );

export interface ContainerFilter {
  workspaceId: string | undefined;
  appId: string;
  functionId: string;
  all: boolean;
}

/** One page and one row more, newest first. */
export const listContainerViews = (sql: Sql, filter: ContainerFilter, { limit, after }: Page) =>
  sql.query<ContainerView>(
    `${VIEW}
      WHERE ($1::text IS NULL OR c.workspace_id = $1) AND ($2 = '' OR c.app_id = $2)
        AND ($3 = '' OR c.function_id = $3) AND ($4 OR c.ended_at IS NULL) AND ($5::text IS NULL OR c.id < $5)
      ORDER BY c.id DESC LIMIT $6`,
    [filter.workspaceId ?? null, filter.appId, filter.functionId, filter.all, after ?? null, limit + 1],
  );

/** Whose a container is that has not ended. */
export async function findLiveOwner(sql: Sql, id: string) {
  const [row] = await sql.query<Record<'organizationId' | 'workspaceId' | 'appId' | 'functionId', string>>(
    `SELECT organization_id AS "organizationId", workspace_id AS "workspaceId", app_id AS "appId",
            function_id AS "functionId"
       FROM container WHERE id = $1 AND ended_at IS NULL`,
    [id],
  );
  return row;
}

export const findCounted = (tx: Sql, owner: string) =>
  tx.prepared<Counted>(
    'find-counted',
    `SELECT id, state FROM container WHERE owner = $1 AND ended_at IS NULL AND state <> 'stopping'`,
    [owner],
  );

export interface NewContainers {
  count: number;
  owner: string;
  organizationId: string;
  workspaceId: string;
  appId: string;
  functionId: string;
  version: number;
  spec: Uint8Array;
  millicores: number;
  memoryMib: number;
  gpu: GpuChoice[];
  now: Date;
}

/** Equal containers, all pending. Gives their ids. */
export async function insertContainers(tx: Sql, made: NewContainers): Promise<string[]> {
  const ids = Array.from({ length: made.count }, () => newId('ta', made.now.getTime()));
  await tx.prepared(
    'insert-containers',
    `INSERT INTO container (id, owner, organization_id, workspace_id, app_id, function_id, version, spec, millicores,
                            memory_mib, gpu, state, created_at)
     SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', $12 FROM unnest($1::text[]) AS id`,
    [
      ids,
      made.owner,
      made.organizationId,
      made.workspaceId,
      made.appId,
      made.functionId,
      made.version,
      Buffer.from(made.spec),
      made.millicores,
      made.memoryMib,
      JSON.stringify(made.gpu),
      made.now,
    ],
  );
  return ids;
}

export interface Happening {
  now: Date;
  reason?: string;
  error?: ContainerError;
  phases?: PhaseRow[];
  /** Said by its runner, of this node and incarnation: anybody else's word changes nothing. */
  by?: { nodeId: string; incarnation: string };
}

/**
 * Applies `event` to those of `ids` that it may happen to, and gives these; the others stay as they are. What ends lets
 * go of its cards.
 */
export async function advance(
  tx: Sql,
  ids: readonly string[],
  event: Exclude<ContainerEvent, 'place'>,
  { now, reason, error, phases, by }: Happening,
): Promise<string[]> {
  if (ids.length === 0) return [];
  const { from, to } = TRANSITIONS[event];
  const rows = await tx.prepared<{ id: string }>(
    'advance-containers',
    `UPDATE container
        SET state = $2, reason = $4, error = coalesce($5, error), phases = coalesce($6, phases),
            started_at = CASE WHEN $8::text IS NULL THEN started_at ELSE coalesce(started_at, $7) END,
            ready_at = CASE WHEN $2 = 'ready' THEN $7 ELSE ready_at END,
            stopping_at = CASE WHEN $2 = 'stopping' THEN $7 ELSE stopping_at END,
            ended_at = CASE WHEN $2 IN ('stopped', 'failed', 'lost') THEN $7 ELSE ended_at END
      WHERE id = ANY($1) AND state = ANY($3)
        AND ($8::text IS NULL
             OR node_id = $8 AND EXISTS (SELECT FROM node WHERE node.id = $8 AND node.incarnation = $9))
      RETURNING id`,
    [
      ids,
      to,
      from,
      reason ?? null,
      error ? JSON.stringify(error) : null,
      phases && phases.length > 0 ? JSON.stringify(phases) : null,
      now,
      by?.nodeId ?? null,
      by?.incarnation ?? null,
    ],
  );
  const advanced = rows.map(({ id }) => id);
  if (isFinal(to) && advanced.length > 0) {
    await tx.prepared('free-devices', 'UPDATE device SET container_id = NULL WHERE container_id = ANY($1)', [
      advanced,
    ]);
  }
  return advanced;
}

export const wasPlacedOn = async (sql: Sql, id: string, nodeId: string): Promise<boolean> => {
  const rows = await sql.query('SELECT FROM container WHERE id = $1 AND node_id = $2', [id, nodeId]);
  return rows.length > 0;
};

export type AssignmentRow = Pick<Container, 'id' | 'spec' | 'state' | 'created_at'> & {
  placed_at: Date;
  devices: ContainerView['devices'];
};

/** What a node should run or stop, oldest first. */
export const listAssignmentRows = (sql: Sql, nodeId: string) =>
  sql.prepared<AssignmentRow>(
    'list-assignments',
    `SELECT c.id, c.spec, c.state, c.created_at, c.placed_at, ${DEVICES}
       FROM container c WHERE c.node_id = $1 AND c.ended_at IS NULL ORDER BY c.id`,
    [nodeId],
  );

export const liveOn = async (tx: Sql, nodeIds: readonly string[]): Promise<string[]> => {
  const rows = await tx.query<{ id: string }>(
    'SELECT id FROM container WHERE node_id = ANY($1) AND ended_at IS NULL',
    [nodeIds],
  );
  return rows.map(({ id }) => id);
};

export type UnderWayRow = Pick<Container, 'id' | 'state' | 'spec'> & { since: Date };

/** What has been starting since before `placedBefore`, or stopping since before `stoppingBefore`. */
export const listUnderWay = (sql: Sql, placedBefore: Date, stoppingBefore: Date) =>
  sql.prepared<UnderWayRow>(
    'list-under-way',
    `SELECT id, state, spec, CASE WHEN state = 'stopping' THEN stopping_at ELSE placed_at END AS since
       FROM container
      WHERE ended_at IS NULL
        AND (state IN ('assigned', 'starting') AND placed_at < $1 OR state = 'stopping' AND stopping_at < $2)`,
    [placedBefore, stoppingBefore],
  );

const DELETE_BATCH = 500;

/** Deletes some of what ended before `endedBefore`; whether there may be more. */
export async function deleteEnded(sql: Sql, endedBefore: Date): Promise<boolean> {
  const rows = await sql.query(
    `DELETE FROM container WHERE id IN (
       SELECT id FROM container WHERE ended_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id`,
    [endedBefore, DELETE_BATCH],
  );
  return rows.length === DELETE_BATCH;
}
