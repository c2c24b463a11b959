import type { RegisterNodeRequest, RegisterNodeResponse } from '@berth/contracts/scheduler/v1/scheduler';
import { newId } from '@berth/database';
import type { Context } from '../context';
import { HEARTBEAT_INTERVAL_MS, SILENCE_LIMIT_MS } from '../domain/limits';
import { advance, liveOn } from '../store/container-store';
import { findNode, saveDevices, saveNode } from '../store/node-store';
import { lockPlacement } from '../store/placement-store';
import { readNode } from './from-proto';

/**
 * Takes a node in as its runner describes it. A new incarnation is a new process that knows nothing of the containers
 * before it: they are lost. The same one again (this service or the line was away) keeps what was not given up.
 */
export const registerNode =
  ({ change, placement }: Context) =>
  async (request: RegisterNodeRequest): Promise<RegisterNodeResponse> => {
    const description = readNode(request);
    const { incarnation } = request;
    const nodeId = request.nodeId || newId('no');
    await change(async ({ tx, now, say }) => {
      await lockPlacement(tx);
      const earlier = await findNode(tx, nodeId);
      if (earlier && earlier.incarnation !== incarnation) {
        const reason = `The runner of its node ${description.name} was started again.`;
        say(await advance(tx, await liveOn(tx, [nodeId]), 'lose', { now, reason }));
      }
      await saveNode(tx, {
        id: nodeId,
        incarnation,
        name: description.name,
        organization_id: description.organizationId,
        engine: request.engine,
        millicores: description.millicores,
        memory_mib: request.memory,
        state: 'ready',
        last_heartbeat_at: now,
      });
      await saveDevices(tx, nodeId, description.devices);
    });
    placement.wake();
    return { nodeId, heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS, silenceLimitMs: SILENCE_LIMIT_MS };
  };
