import type { ListWorkspacesRequest, ListWorkspacesResponse } from '@berth/contracts/workspace/v1/workspace';
import { cutPage, isId, readPage } from '@berth/database';
import { organizationOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listWorkspaceRows } from '../store/workspace-store';
import { workspaceToProto } from './to-proto';

/** Lists what the caller may see, oldest first: the organization's workspaces, or the one that a token opens. */
export const listWorkspaces =
  ({ db }: Context) =>
  async (request: ListWorkspacesRequest, call: CallContext): Promise<ListWorkspacesResponse> => {
    const { principal } = call;
    const organizationId = organizationOf(call, request.organizationId);
    const page = readPage(request);
    if (!isId('or', organizationId)) return { data: [], nextCursor: '' };

    const seesOne = principal.kind === 'user' && principal.scope === 'workspace';
    const rows = await listWorkspaceRows(
      db,
      organizationId,
      seesOne ? principal.workspaceId : undefined,
      page,
    );
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(workspaceToProto), nextCursor };
  };
