import { CreateDeploymentRequest, CreateDeploymentResponse } from '@berth/contracts/functions/v1/functions';
import { idempotent } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { isSameDeployment } from '../domain/deployment';
import { lockApp } from '../store/app-store';
import { currentVersions, insertDeployment, lastDeployment } from '../store/deployment-store';
import { appIsStopped, noSuchApp } from './not-found';
import { deploymentToProto } from './to-proto';

/** Notes which version of each function of an app is current. Honours Idempotency-Key. */
export const createDeployment =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: CreateDeploymentRequest, call: CallContext): Promise<CreateDeploymentResponse> => {
    const workspaceId = workspaceOf(call);
    const repeat = {
      scope: workspaceId,
      method: 'CreateDeployment',
      key: call.idempotencyKey,
      request: CreateDeploymentRequest.encode(request).finish(),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, CreateDeploymentResponse, async () => {
        const app = await lockApp(tx, workspaceId, request.appId);
        if (!app) throw noSuchApp();
        if (app.stopped_at) throw appIsStopped();
        const functions = await currentVersions(tx, app.id);
        const last = await lastDeployment(tx, app.id);
        const same = last && isSameDeployment(last.functions, functions);
        return {
          deployment: deploymentToProto(same ? last : await insertDeployment(tx, app.id, functions, null)),
        };
      }),
    );
  };
