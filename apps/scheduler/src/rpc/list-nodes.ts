import type { ListNodesRequest, ListNodesResponse } from '@berth/contracts/scheduler/v1/scheduler';
import { userOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listNodeViews } from '../store/node-store';
import { nodeToProto } from './to-proto';

/** Lists the nodes that the caller's containers may run on: those of the organization, and those for all. */
export const listNodes =
  ({ db }: Context) =>
  async (_: ListNodesRequest, call: CallContext): Promise<ListNodesResponse> => {
    const user = userOf(call);
    const views = await listNodeViews(db, user.organizationId);
    return { data: views.map(nodeToProto(user)) };
  };
