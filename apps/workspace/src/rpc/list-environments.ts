import type {
  ListEnvironmentsRequest,
  ListEnvironmentsResponse,
} from '@berth/contracts/workspace/v1/workspace';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listEnvironmentRows } from '../store/environment-store';
import { environmentToProto } from './to-proto';

/** Lists the environments of the caller's workspace by name. */
export const listEnvironments =
  ({ db }: Context) =>
  async (_: ListEnvironmentsRequest, call: CallContext): Promise<ListEnvironmentsResponse> => {
    const rows = await listEnvironmentRows(db, workspaceOf(call));
    return { data: rows.map(environmentToProto) };
  };
