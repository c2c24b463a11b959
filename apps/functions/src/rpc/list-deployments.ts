import type {
  ListDeploymentsRequest,
  ListDeploymentsResponse,
} from '@berth/contracts/functions/v1/functions';
import { cutPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp } from '../store/app-store';
import { listDeploymentRows } from '../store/deployment-store';
import { noSuchApp } from './not-found';
import { readNumberPage } from './number-page';
import { deploymentToProto } from './to-proto';

/** Lists the deployments of an app, newest first. */
export const listDeployments =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListDeploymentsRequest, call: CallContext): Promise<ListDeploymentsResponse> => {
    const { page, before } = readNumberPage(request);
    const app = await findApp(db, workspaceOf(call), request.appId);
    if (!app) throw noSuchApp();
    const rows = await listDeploymentRows(db, app.id, before, page);
    const { data, nextCursor } = cutPage(rows, page, ({ number }) => String(number));
    return { data: data.map(deploymentToProto), nextCursor };
  };
