import type { HeartbeatRequest, HeartbeatResponse } from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { registerAgain } from '../domain/node-standing';
import { recordHeartbeat } from '../store/node-store';

/** The node lives. Errors: `precondition` when it has to register again. */
export const heartbeat =
  ({ db, clock }: Context) =>
  async ({ nodeId, incarnation }: HeartbeatRequest): Promise<HeartbeatResponse> => {
    if (!(await recordHeartbeat(db, nodeId, incarnation, clock()))) throw registerAgain();
    return {};
  };
