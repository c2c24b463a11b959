import type {
  StreamFunctionLogsRequest,
  StreamFunctionLogsResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findFunction } from '../store/function-store';
import { noSuchFunction } from './not-found';
import { checkRange, readLogs } from './read-logs';

/** As streamLogs, of one function, a deleted one too. */
export const streamFunctionLogs = (context: Pick<Context, 'db' | 'bus' | 'stopping'>) =>
  async function* (
    request: StreamFunctionLogsRequest,
    call: CallContext,
  ): AsyncGenerator<StreamFunctionLogsResponse> {
    const workspaceId = workspaceOf(call);
    const found = await findFunction(context.db, workspaceId, request.functionId);
    if (!found) throw noSuchFunction();
    checkRange(request);
    const { app_id: appId, function_id: functionId } = found;
    const filter = { workspaceId, appId, functionId, containerId: undefined, callId: undefined };
    for await (const line of readLogs(context, filter, request, call)) yield { line };
  };
