import { newId, type Sql } from '@berth/database';
import type { Device, Node } from './entities';

export const findNode = async (
  sql: Sql,
  id: string,
): Promise<Pick<Node, 'incarnation' | 'state'> | undefined> => {
  const [row] = await sql.prepared<Pick<Node, 'incarnation' | 'state'>>(
    'find-node',
    'SELECT incarnation, state FROM node WHERE id = $1',
    [id],
  );
  return row;
};

/** Whether the node is known, ready and of this incarnation; if so it has been heard of. */
export async function recordHeartbeat(
  sql: Sql,
  id: string,
  incarnation: string,
  now: Date,
): Promise<boolean> {
  const rows = await sql.prepared(
    'record-heartbeat',
    `UPDATE node SET last_heartbeat_at = greatest(last_heartbeat_at, $3)
      WHERE id = $1 AND incarnation = $2 AND state = 'ready' RETURNING id`,
    [id, incarnation, now],
  );
  return rows.length > 0;
}

/** Ready, as its runner describes it. A process node stays with the organization whose container came first. */
export const saveNode = (tx: Sql, node: Node) =>
  tx.query(
    `INSERT INTO node AS n (id, incarnation, name, organization_id, engine, millicores, memory_mib, state,
                            last_heartbeat_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (id) DO UPDATE
        SET incarnation = excluded.incarnation, name = excluded.name, engine = excluded.engine,
            organization_id = CASE WHEN excluded.engine = 'process' AND n.engine = 'process'
              THEN coalesce(excluded.organization_id, n.organization_id) ELSE excluded.organization_id END,
            millicores = excluded.millicores, memory_mib = excluded.memory_mib, state = excluded.state,
            last_heartbeat_at = excluded.last_heartbeat_at`,
    [
      node.id,
      node.incarnation,
      node.name,
      node.organization_id,
      node.engine,
      node.millicores,
      node.memory_mib,
      node.state,
      node.last_heartbeat_at,
    ],
  );

export type NewDevice = Pick<Device, 'index' | 'model' | 'memory_mib' | 'uuid' | 'simulated'>;

/** The node has exactly these cards. One that vanished stays only while a container holds it. */
export async function saveDevices(tx: Sql, nodeId: string, devices: readonly NewDevice[]): Promise<void> {
  await tx.query('UPDATE device SET gone = true WHERE node_id = $1 AND NOT (index = ANY($2))', [
    nodeId,
    devices.map(({ index }) => index),
  ]);
  await tx.query('DELETE FROM device WHERE node_id = $1 AND gone AND container_id IS NULL', [nodeId]);
  if (devices.length === 0) return;
  await tx.query(
    `INSERT INTO device (id, node_id, index, model, memory_mib, uuid, simulated)
     SELECT id, $1, index, model, memory_mib, uuid, simulated
       FROM unnest($2::text[], $3::integer[], $4::text[], $5::integer[], $6::text[], $7::boolean[])
         AS d (id, index, model, memory_mib, uuid, simulated)
     ON CONFLICT ON CONSTRAINT device_node_index DO UPDATE
        SET model = excluded.model, memory_mib = excluded.memory_mib, uuid = excluded.uuid,
            simulated = excluded.simulated, gone = false`,
    [
      nodeId,
      devices.map(() => newId('gp')),
      devices.map(({ index }) => index),
      devices.map(({ model }) => model),
      devices.map(({ memory_mib }) => memory_mib),
      devices.map(({ uuid }) => uuid),
      devices.map(({ simulated }) => simulated),
    ],
  );
}

export const findSilent = (sql: Sql, heardBefore: Date) =>
  sql.prepared<Pick<Node, 'id' | 'name'>>(
    'find-silent',
    `SELECT id, name FROM node WHERE state = 'ready' AND last_heartbeat_at < $1`,
    [heardBefore],
  );

/** Down, if it has still not been heard of; whether it is so now. */
export async function markDown(tx: Sql, id: string, heardBefore: Date): Promise<boolean> {
  const rows = await tx.query(
    `UPDATE node SET state = 'down' WHERE id = $1 AND state = 'ready' AND last_heartbeat_at < $2 RETURNING id`,
    [id, heardBefore],
  );
  return rows.length > 0;
}

/** Forgets nodes that have been down since before then and of which no container is kept. */
export const deleteNodes = (sql: Sql, heardBefore: Date) =>
  sql.query(
    `WITH old AS (
       SELECT id FROM node n WHERE state = 'down' AND last_heartbeat_at < $1
          AND NOT EXISTS (SELECT FROM container c WHERE c.node_id = n.id) FOR UPDATE SKIP LOCKED),
     cards AS (DELETE FROM device WHERE node_id IN (SELECT id FROM old))
     DELETE FROM node WHERE id IN (SELECT id FROM old)`,
    [heardBefore],
  );

export type NodeView = Node & {
  millicores_free: number;
  memory_mib_free: number;
  containers: number;
  devices: (Omit<Device, 'node_id' | 'gone'> & {
    holder_organization_id: string | null;
    holder_workspace_id: string | null;
  })[];
};

/** The nodes that containers of this organization may run on, by name. */
export const listNodeViews = (sql: Sql, organizationId: string) =>
  sql.query<NodeView>(
    `SELECT n.id, n.name, n.organization_id, n.engine, n.millicores, n.memory_mib, n.state, n.last_heartbeat_at,
            n.incarnation, used.containers, n.millicores - used.millicores AS millicores_free,
            n.memory_mib - used.memory_mib AS memory_mib_free,
            (SELECT coalesce(json_agg(json_build_object(
                      'id', d.id, 'index', d.index, 'model', d.model, 'memory_mib', d.memory_mib, 'uuid', d.uuid,
                      'simulated', d.simulated, 'container_id', d.container_id,
                      'holder_organization_id', h.organization_id, 'holder_workspace_id', h.workspace_id)
                      ORDER BY d.index), '[]')
               FROM device d LEFT JOIN container h ON h.id = d.container_id
              WHERE d.node_id = n.id AND (NOT d.gone OR d.container_id IS NOT NULL)) AS devices
       FROM node n, LATERAL (
         SELECT count(*)::integer AS containers, coalesce(sum(c.millicores), 0)::integer AS millicores,
                coalesce(sum(c.memory_mib), 0)::integer AS memory_mib
           FROM container c WHERE c.node_id = n.id AND c.ended_at IS NULL) used
      WHERE n.organization_id IS NULL OR n.organization_id = $1
      ORDER BY n.name, n.id`,
    [organizationId],
  );
