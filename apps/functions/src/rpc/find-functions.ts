import type { FindFunctionsRequest, FindFunctionsResponse } from '@berth/contracts/functions/v1/functions';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findFunctionRows } from '../store/function-store';
import { findEnvironmentName } from './environment-name';
import { functionToProto } from './to-proto';

/** Finds functions of deployed apps by exact names. */
export const findFunctions =
  ({ db, workspaces, web }: Pick<Context, 'db' | 'workspaces' | 'web'>) =>
  async (request: FindFunctionsRequest, call: CallContext): Promise<FindFunctionsResponse> => {
    const page = readPage(request);
    const environment = await findEnvironmentName(workspaces, request.environment, call);
    const names = { environment, app: request.app || undefined, name: request.name || undefined };
    const rows = await findFunctionRows(db, workspaceOf(call), names, page);
    const { data, nextCursor } = cutPage(rows, page, ({ function_id }) => function_id);
    return { data: data.map((each) => functionToProto(each, web)), nextCursor };
  };
