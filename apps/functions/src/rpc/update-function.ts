import { UpdateFunctionRequest, UpdateFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { idempotent } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { isSameDefinition } from '../domain/definition';
import { findApp, holdApp } from '../store/app-store';
import { advanceVersion, findFunction, insertVersion, lockFunction } from '../store/function-store';
import { settleSchedule } from '../store/schedule-store';
import { readDefinition } from './definition';
import { appIsStopped, functionIsBound, functionIsDeleted, noSuchFunction } from './not-found';
import { wakeForRun } from '../loops/schedules';
import { functionToProto } from './to-proto';

/**
 * Gives a function a new version; open calls finish on the one that they began with. What is as it was already stays:
 * its containers stay warm. Honours Idempotency-Key.
 */
export const updateFunction =
  (context: Pick<Context, 'db' | 'sync' | 'secrets' | 'volumes' | 'autoscaler' | 'schedules' | 'web'>) =>
  async (request: UpdateFunctionRequest, call: CallContext): Promise<UpdateFunctionResponse> => {
    const { db, autoscaler, schedules, web } = context;
    const workspaceId = workspaceOf(call);
    const existing = await findFunction(db, workspaceId, request.functionId);
    if (!existing) throw noSuchFunction();
    if (existing.base_id) throw functionIsBound();
    const { environment } = (await findApp(db, workspaceId, existing.app_id))!;
    const { definition, source } = await readDefinition(context, request.definition!, environment, call);
    const repeat = {
      scope: workspaceId,
      method: 'UpdateFunction',
      key: call.idempotencyKey,
      request: UpdateFunctionRequest.encode(request).finish(),
    };
    const response = await db.transact((tx) =>
      idempotent(tx, repeat, UpdateFunctionResponse, async () => {
        const app = await holdApp(tx, workspaceId, existing.app_id);
        if (app?.stopped_at) throw appIsStopped();
        await lockFunction(tx, existing.function_id);
        const current = (await findFunction(tx, workspaceId, existing.function_id))!;
        if (current.deleted_at) throw functionIsDeleted();
        if (isSameDefinition(current.definition, definition) && current.source === source) {
          return { function: functionToProto(current, web) };
        }
        const version = await advanceVersion(tx, existing.function_id);
        await insertVersion(tx, existing.function_id, version, definition, source);
        await settleSchedule(tx, existing.function_id);
        return {
          function: functionToProto((await findFunction(tx, workspaceId, existing.function_id))!, web),
        };
      }),
    );
    const { functionId, version } = response.function!;
    // The version before keeps no minimum any more, the new one may have one.
    for (const each of [existing.version, version]) autoscaler.consider(functionId, each);
    wakeForRun(schedules, response.function!.nextRunAt);
    return response;
  };
