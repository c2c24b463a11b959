import type { ListContainersRequest, ListContainersResponse } from '@berth/contracts/scheduler/v1/scheduler';
import { cutPage, isId, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listContainerViews } from '../store/container-store';
import { containerToProto } from './to-proto';

/** Lists the containers of the caller's workspace, newest first; of any for a service. */
export const listContainers =
  ({ db }: Context) =>
  async (request: ListContainersRequest, call: CallContext): Promise<ListContainersResponse> => {
    const workspaceId = call.principal.kind === 'service' ? undefined : workspaceOf(call);
    const page = readPage(request);
    const { appId, functionId, all } = request;
    const malformed = (appId && !isId('ap', appId)) || (functionId && !isId('fu', functionId));
    if (malformed) return { data: [], nextCursor: '' };
    const rows = await listContainerViews(db, { workspaceId, appId, functionId, all }, page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(containerToProto), nextCursor };
  };
