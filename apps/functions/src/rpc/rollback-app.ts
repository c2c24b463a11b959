import { RollbackAppRequest, RollbackAppResponse } from '@berth/contracts/functions/v1/functions';
import { idempotent, type Sql } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { numberBefore, type DeployedVersion } from '../domain/deployment';
import { lockApp } from '../store/app-store';
import { currentVersions, findDeployment, insertDeployment, lastDeployment } from '../store/deployment-store';
import { settleSchedule } from '../store/schedule-store';
import { makeCurrent, restore } from '../store/version-store';
import type { Deployment } from '../store/entities';
import { appIsStopped, noSuchApp } from './not-found';
import { deploymentToProto } from './to-proto';

/** Gives all functions of a deployment the versions that they had in it, together. Honours Idempotency-Key. */
export const rollbackApp =
  ({ db, autoscaler, schedules }: Pick<Context, 'db' | 'autoscaler' | 'schedules'>) =>
  async (request: RollbackAppRequest, call: CallContext): Promise<RollbackAppResponse> => {
    const workspaceId = workspaceOf(call);
    const repeat = {
      scope: workspaceId,
      method: 'RollbackApp',
      key: call.idempotencyKey,
      request: RollbackAppRequest.encode(request).finish(),
    };
    let before: readonly DeployedVersion[] = [];
    const response = await db.transact((tx) =>
      idempotent(tx, repeat, RollbackAppResponse, async () => {
        const app = await lockApp(tx, workspaceId, request.appId);
        if (!app) throw noSuchApp();
        if (app.stopped_at) throw appIsStopped();
        before = await currentVersions(tx, app.id);
        const target = await findTarget(tx, app.id, request.number);
        for (const { function_id, name, version } of target.functions) {
          if (!(await restore(tx, function_id))) throw nameIsTaken(name);
          await makeCurrent(tx, function_id, version);
          await settleSchedule(tx, function_id);
        }
        const functions = await currentVersions(tx, app.id);
        return {
          deployment: deploymentToProto(await insertDeployment(tx, app.id, functions, target.number)),
        };
      }),
    );
    // Some keep their minimum no longer, others may have one.
    for (const { function_id, version } of before) autoscaler.consider(function_id, version);
    for (const { functionId, version } of response.deployment!.functions) {
      autoscaler.consider(functionId, version);
    }
    schedules.wake(0);
    return response;
  };

async function findTarget(tx: Sql, appId: string, number: number | undefined): Promise<Deployment> {
  const last = await lastDeployment(tx, appId);
  const wanted = number ?? (last ? numberBefore(last) : 0);
  const target = await findDeployment(tx, appId, wanted);
  if (target) return target;
  if (number === undefined) {
    throw new BerthError('precondition', 'The app has no deployment before the last one.', {
      field: 'number',
    });
  }
  throw new BerthError('not_found', 'The app has no such deployment: /deployments lists them.', {
    field: 'number',
  });
}

const nameIsTaken = (name: string) =>
  new BerthError(
    'precondition',
    `The function ${name} of that deployment was deleted, and another has its name: delete that one first.`,
  );
