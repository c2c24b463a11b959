import type { GetFunctionRequest, GetFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findFunction } from '../store/function-store';
import { noSuchFunction } from './not-found';
import { functionToProto } from './to-proto';

/** A function of the caller's workspace, as new calls run it. */
export const getFunction =
  ({ db, web }: Pick<Context, 'db' | 'web'>) =>
  async ({ functionId }: GetFunctionRequest, call: CallContext): Promise<GetFunctionResponse> => {
    const found = await findFunction(db, workspaceOf(call), functionId);
    if (!found) throw noSuchFunction();
    return { function: functionToProto(found, web) };
  };
