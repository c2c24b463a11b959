import type { StopAppRequest, StopAppResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { endApp } from '../loops/end-app';
import { findApp, markAppStopped } from '../store/app-store';
import { noSuchApp } from './not-found';

/** Stops an app: it takes no more, its open calls are terminated, its containers end. */
export const stopApp =
  (context: Pick<Context, 'db' | 'waiting' | 'lines' | 'autoscaler'>) =>
  async ({ appId }: StopAppRequest, call: CallContext): Promise<StopAppResponse> => {
    const app = await findApp(context.db, workspaceOf(call), appId);
    if (!app) throw noSuchApp();
    await endApp(context, app.id, (tx) => markAppStopped(tx, app.id));
    return {};
  };
