import type { BindFunctionRequest, BindFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { canonicalParameters } from '../domain/parameters';
import { holdApp } from '../store/app-store';
import { bindFunction as bind, findFunction, lockFunction } from '../store/function-store';
import { appIsStopped, functionIsBound, functionIsDeleted, noSuchFunction } from './not-found';
import { functionToProto } from './to-proto';

/** Binds a class to parameters: a function with a pool of its own, the same for the same parameters. */
export const bindFunction =
  ({ db, web, autoscaler }: Pick<Context, 'db' | 'web' | 'autoscaler'>) =>
  async (
    { functionId, parameters }: BindFunctionRequest,
    call: CallContext,
  ): Promise<BindFunctionResponse> => {
    const workspaceId = workspaceOf(call);
    const base = await findFunction(db, workspaceId, functionId);
    if (!base) throw noSuchFunction();
    if (base.base_id) throw functionIsBound();
    if (base.deleted_at) throw functionIsDeleted();
    const canonical = canonicalParameters(parameters ?? Buffer.from('{}'));
    const bound = await db.transact(async (tx) => {
      const app = await holdApp(tx, workspaceId, base.app_id);
      if (app?.stopped_at) throw appIsStopped();
      await lockFunction(tx, base.function_id);
      // What deletes it deletes what is bound to it by then: nothing may be bound to it later.
      if ((await findFunction(tx, workspaceId, base.function_id))?.deleted_at) throw functionIsDeleted();
      return (await findFunction(tx, workspaceId, await bind(tx, base, canonical)))!;
    });
    if (bound.definition.min_containers > 0) autoscaler.consider(bound.function_id, bound.version);
    return { function: functionToProto(bound, web) };
  };
