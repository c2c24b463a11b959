import type { DeleteFunctionRequest, DeleteFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { endVersions, FUNCTION_DELETED } from '../loops/end-app';
import { findFunction, listVersionsOf } from '../store/function-store';
import { markDeleted } from '../store/version-store';
import { functionIsBound, noSuchFunction } from './not-found';

/** Deletes one function: it takes no more, its open calls are terminated, its containers end; its calls stay readable. */
export const deleteFunction =
  (context: Pick<Context, 'db' | 'waiting' | 'lines' | 'autoscaler'>) =>
  async ({ functionId }: DeleteFunctionRequest, call: CallContext): Promise<DeleteFunctionResponse> => {
    const found = await findFunction(context.db, workspaceOf(call), functionId);
    if (!found) throw noSuchFunction();
    if (found.base_id) throw functionIsBound();
    const versions = await listVersionsOf(context.db, found.function_id);
    await endVersions(context, versions, FUNCTION_DELETED, (tx) => markDeleted(tx, found.function_id));
    return {};
  };
