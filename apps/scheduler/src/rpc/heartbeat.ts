import type { HeartbeatRequest, HeartbeatResponse } from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { registerAgain } from '../domain/node-standing';
import { recordHeartbeat } from '../store/node-store';
import { checkRunner } from './from-proto';

/** The node lives. Errors: `precondition` when it has to register again. */
export const heartbeat =
  ({ db, clock }: Context) =>
  async (request: HeartbeatRequest): Promise<HeartbeatResponse> => {
    checkRunner(request);
    const { nodeId, incarnation } = request;
    if (!(await recordHeartbeat(db, nodeId, incarnation, clock()))) throw registerAgain();
    return {};
  };
