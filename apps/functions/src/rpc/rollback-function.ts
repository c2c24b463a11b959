import { RollbackFunctionRequest, RollbackFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { idempotent } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { holdApp } from '../store/app-store';
import { findFunction, lockFunction } from '../store/function-store';
import { settleSchedule } from '../store/schedule-store';
import { hasVersion, makeCurrent } from '../store/version-store';
import { appIsStopped, functionIsBound, functionIsDeleted, noSuchFunction } from './not-found';
import { wakeForRun } from '../loops/schedules';
import { functionToProto } from './to-proto';

/** Makes another version the one that new calls run; open calls finish on theirs. Honours Idempotency-Key. */
export const rollbackFunction =
  ({ db, autoscaler, schedules, web }: Pick<Context, 'db' | 'autoscaler' | 'schedules' | 'web'>) =>
  async (request: RollbackFunctionRequest, call: CallContext): Promise<RollbackFunctionResponse> => {
    const workspaceId = workspaceOf(call);
    const { functionId } = request;
    const existing = await findFunction(db, workspaceId, functionId);
    if (!existing) throw noSuchFunction();
    if (existing.base_id) throw functionIsBound();
    const repeat = {
      scope: workspaceId,
      method: 'RollbackFunction',
      key: call.idempotencyKey,
      request: RollbackFunctionRequest.encode(request).finish(),
    };
    const response = await db.transact((tx) =>
      idempotent(tx, repeat, RollbackFunctionResponse, async () => {
        const app = await holdApp(tx, workspaceId, existing.app_id);
        if (app?.stopped_at) throw appIsStopped();
        await lockFunction(tx, functionId);
        const current = (await findFunction(tx, workspaceId, functionId))!;
        if (current.deleted_at) throw functionIsDeleted();
        const version = request.version ?? current.version - 1;
        if (!(await hasVersion(tx, functionId, version))) throw noSuchVersion(request.version);
        await makeCurrent(tx, functionId, version);
        await settleSchedule(tx, functionId);
        return { function: functionToProto((await findFunction(tx, workspaceId, functionId))!, web) };
      }),
    );
    // One keeps its minimum no longer, the other may have one.
    for (const each of [existing.version, response.function!.version]) autoscaler.consider(functionId, each);
    wakeForRun(schedules, response.function!.nextRunAt);
    return response;
  };

const noSuchVersion = (version: number | undefined) =>
  version === undefined
    ? new BerthError('precondition', 'There is no version before this one.', { field: 'version' })
    : new BerthError('not_found', 'The function has no such version: /versions lists them.', {
        field: 'version',
      });
