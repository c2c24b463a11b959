import type { SendHeartbeatRequest, SendHeartbeatResponse } from '@berth/contracts/functions/v1/functions';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp, noteHeartbeat } from '../store/app-store';
import { appIsStopped, noSuchApp } from './not-found';
import { appToProto } from './to-proto';

/** Notes that the client of an ephemeral app is there. */
export const sendHeartbeat =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ appId }: SendHeartbeatRequest, call: CallContext): Promise<SendHeartbeatResponse> => {
    const workspaceId = workspaceOf(call);
    const noted = await noteHeartbeat(db, workspaceId, appId);
    if (noted) return { app: appToProto(noted) };
    const app = await findApp(db, workspaceId, appId);
    if (!app) throw noSuchApp();
    if (app.stopped_at) throw appIsStopped();
    throw new BerthError('precondition', 'The app is deployed and needs no heartbeats.');
  };
