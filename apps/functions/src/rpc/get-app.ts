import type { GetAppRequest, GetAppResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp } from '../store/app-store';
import { noSuchApp } from './not-found';
import { appToProto } from './to-proto';

/** An app of the caller's workspace, a stopped one too. */
export const getApp =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ appId }: GetAppRequest, call: CallContext): Promise<GetAppResponse> => {
    const app = await findApp(db, workspaceOf(call), appId);
    if (!app) throw noSuchApp();
    return { app: appToProto(app) };
  };
