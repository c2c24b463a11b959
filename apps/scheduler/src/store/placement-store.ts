import type { Sql } from '@berth/database';
import type { Card, NodeSnapshot, Waiting } from '../domain/cluster';
import type { GpuChoice } from '../domain/gpu';
import type { Plan } from '../domain/place';

/**
 * One at a time may take capacity, whichever replica it runs in: until the transaction ends. Giving capacity back needs
 * no lock: a plan that has not seen it is only careful.
 */
export const lockPlacement = (tx: Sql) =>
  tx.prepared(
    'lock-placement',
    `SELECT pg_advisory_xact_lock(hashtextextended('berth_scheduler placement', 0))`,
    [],
  );

export const anyWaits = async (sql: Sql): Promise<boolean> => {
  const rows = await sql.prepared('any-waits', `SELECT FROM container WHERE state = 'pending' LIMIT 1`, []);
  return rows.length > 0;
};

/** All that wait, in the order in which they came. */
export async function readLine(tx: Sql, now: Date): Promise<Waiting[]> {
  const rows = await tx.prepared<{
    id: string;
    organization_id: string;
    millicores: number;
    memory_mib: number;
    gpu: GpuChoice[];
    created_at: Date;
  }>(
    'read-line',
    `SELECT id, organization_id, millicores, memory_mib, gpu, created_at
       FROM container WHERE state = 'pending' ORDER BY id`,
    [],
  );
  return rows.map((row) => ({
    containerId: row.id,
    organizationId: row.organization_id,
    millicores: row.millicores,
    memoryMib: row.memory_mib,
    gpu: row.gpu,
    waitedMs: Math.max(0, now.getTime() - row.created_at.getTime()),
  }));
}

/** The nodes that are ready, with what is free on each. */
export async function readNodes(tx: Sql): Promise<NodeSnapshot[]> {
  const rows = await tx.prepared<{
    id: string;
    organization_id: string | null;
    engine: string;
    millicores: number;
    memory_mib: number;
    millicores_free: number;
    memory_mib_free: number;
    cards: Card[];
  }>(
    'read-nodes',
    `SELECT n.id, n.organization_id, n.engine, n.millicores, n.memory_mib,
            n.millicores - used.millicores AS millicores_free, n.memory_mib - used.memory_mib AS memory_mib_free,
            (SELECT coalesce(json_agg(json_build_object(
                      'deviceId', d.id, 'index', d.index, 'model', d.model, 'simulated', d.simulated,
                      'free', d.container_id IS NULL) ORDER BY d.index), '[]')
               FROM device d WHERE d.node_id = n.id AND NOT d.gone) AS cards
       FROM node n, LATERAL (
         SELECT coalesce(sum(c.millicores), 0)::integer AS millicores,
                coalesce(sum(c.memory_mib), 0)::integer AS memory_mib
           FROM container c WHERE c.node_id = n.id AND c.ended_at IS NULL) used
      WHERE n.state = 'ready'`,
    [],
  );
  return rows.map((row) => ({
    nodeId: row.id,
    organizationId: row.organization_id,
    isolated: row.engine !== 'process',
    millicores: row.millicores,
    memoryMib: row.memory_mib,
    millicoresFree: row.millicores_free,
    memoryMibFree: row.memory_mib_free,
    cards: row.cards,
  }));
}

/** Gives the placed their places and cards, and the others their reasons. The caller holds the placement lock. */
export async function writePlan(
  tx: Sql,
  { placements, waiting, claims }: Plan,
  now: Date,
): Promise<string[]> {
  for (const { nodeId, organizationId } of claims) {
    await tx.query('UPDATE node SET organization_id = $2 WHERE id = $1 AND organization_id IS NULL', [
      nodeId,
      organizationId,
    ]);
  }
  if (waiting.length > 0) {
    await tx.prepared(
      'write-reasons',
      `UPDATE container SET reason = w.reason FROM unnest($1::text[], $2::text[]) AS w (id, reason)
        WHERE container.id = w.id AND state = 'pending' AND container.reason IS DISTINCT FROM w.reason`,
      [waiting.map(({ containerId }) => containerId), waiting.map(({ reason }) => reason)],
    );
  }
  if (placements.length === 0) return [];
  const placed = await tx.prepared<{ id: string }>(
    'write-places',
    `UPDATE container SET state = 'assigned', node_id = p.node_id, placed_at = $3, reason = NULL
       FROM unnest($1::text[], $2::text[]) AS p (id, node_id)
      WHERE container.id = p.id AND state = 'pending' RETURNING container.id`,
    [placements.map(({ containerId }) => containerId), placements.map(({ nodeId }) => nodeId), now],
  );
  if (placed.length !== placements.length)
    throw new Error('what was placed no longer waits: the lock did not hold');
  const held = placements.flatMap(({ containerId, deviceIds }) =>
    deviceIds.map((deviceId) => ({ containerId, deviceId })),
  );
  if (held.length > 0) {
    const taken = await tx.prepared<{ id: string }>(
      'take-devices',
      `UPDATE device SET container_id = h.container_id FROM unnest($1::text[], $2::text[]) AS h (id, container_id)
        WHERE device.id = h.id AND device.container_id IS NULL RETURNING device.id`,
      [held.map(({ deviceId }) => deviceId), held.map(({ containerId }) => containerId)],
    );
    if (taken.length !== held.length) throw new Error('a card of the plan was taken: the lock did not hold');
  }
  return placed.map(({ id }) => id);
}
