import type {
  ListAssignmentsRequest,
  ListAssignmentsResponse,
} from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { registerAgain } from '../domain/node-standing';
import { listAssignmentRows } from '../store/container-store';
import { findNode } from '../store/node-store';
import { checkRunner } from './from-proto';
import { assignmentToProto } from './to-proto';

/** What a node should run, or stop; whatever else it runs, it ends. Errors: as for a heartbeat. */
export const listAssignments =
  ({ db }: Context) =>
  async (request: ListAssignmentsRequest): Promise<ListAssignmentsResponse> => {
    checkRunner(request);
    const { nodeId, incarnation } = request;
    const node = await findNode(db, nodeId);
    if (node?.incarnation !== incarnation || node.state !== 'ready') throw registerAgain();
    const rows = await listAssignmentRows(db, nodeId);
    return { assignments: rows.map(assignmentToProto) };
  };
