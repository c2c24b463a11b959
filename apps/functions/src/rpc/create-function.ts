import { CreateFunctionRequest, CreateFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { idempotent } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkPlainName } from '../domain/definition';
import { findApp, holdApp } from '../store/app-store';
import { findFunction, insertFunction, insertVersion } from '../store/function-store';
import { settleSchedule } from '../store/schedule-store';
import { readDefinition } from './definition';
import { appIsStopped, noSuchApp } from './not-found';
import { wakeForRun } from '../loops/schedules';
import { functionToProto } from './to-proto';

/** Makes a function, version 1. Honours Idempotency-Key. */
export const createFunction =
  (context: Pick<Context, 'db' | 'sync' | 'secrets' | 'volumes' | 'autoscaler' | 'schedules' | 'web'>) =>
  async (request: CreateFunctionRequest, call: CallContext): Promise<CreateFunctionResponse> => {
    const { db, autoscaler, schedules, web } = context;
    const workspaceId = workspaceOf(call);
    checkPlainName(request.name);
    // Nothing is stored for an app that is not there, or takes no more.
    const existing = await findApp(db, workspaceId, request.appId);
    if (!existing) throw noSuchApp();
    if (existing.stopped_at) throw appIsStopped();
    const { definition, source } = await readDefinition(context, request, existing.environment, call);
    const repeat = {
      scope: workspaceId,
      method: 'CreateFunction',
      key: call.idempotencyKey,
      request: CreateFunctionRequest.encode(request).finish(),
    };
    const response = await db.transact((tx) =>
      idempotent(tx, repeat, CreateFunctionResponse, async () => {
        const app = await holdApp(tx, workspaceId, request.appId);
        if (!app) throw noSuchApp();
        if (app.stopped_at) throw appIsStopped();
        const made = await insertFunction(tx, app, request.name);
        if (!made) {
          throw new BerthError(
            'conflict',
            'The app has a function of this name: update it, or choose another.',
            {
              field: 'name',
            },
          );
        }
        await insertVersion(tx, made.id, made.version, definition, source);
        await settleSchedule(tx, made.id);
        return { function: functionToProto((await findFunction(tx, workspaceId, made.id))!, web) };
      }),
    );
    if (definition.min_containers > 0) autoscaler.consider(response.function!.functionId, 1);
    wakeForRun(schedules, response.function!.nextRunAt);
    return response;
  };
