import type { ListAppsRequest, ListAppsResponse } from '@berth/contracts/functions/v1/functions';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listAppRows } from '../store/app-store';
import { appStateFromProto, appToProto } from './to-proto';

/** Lists the apps of the caller's workspace, newest first. */
export const listApps =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListAppsRequest, call: CallContext): Promise<ListAppsResponse> => {
    const page = readPage(request);
    const filter = {
      environment: request.environment || undefined,
      state: appStateFromProto(request.state),
      name: request.name || undefined,
    };
    const rows = await listAppRows(db, workspaceOf(call), filter, page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(appToProto), nextCursor };
  };
