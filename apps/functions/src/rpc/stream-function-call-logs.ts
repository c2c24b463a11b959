import type {
  StreamFunctionCallLogsRequest,
  StreamFunctionCallLogsResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall, isMap } from '../store/call-store';
import { findFunction } from '../store/function-store';
import { noSuchCall } from './not-found';
import { checkRange, readLogs } from './read-logs';

/** Clocks of runners may be behind ours by as much. Milliseconds. */
const CLOCKS_MS = 60_000;

/** As streamLogs, of one call. */
export const streamFunctionCallLogs = (context: Pick<Context, 'db' | 'bus' | 'stopping'>) =>
  async function* (
    request: StreamFunctionCallLogsRequest,
    call: CallContext,
  ): AsyncGenerator<StreamFunctionCallLogsResponse> {
    const workspaceId = workspaceOf(call);
    const found = await findCall(context.db, workspaceId, request.callId);
    if (!found) throw noSuchCall();
    checkRange(request);
    const of = (await findFunction(context.db, workspaceId, found.function_id))!;
    const filter = {
      workspaceId,
      appId: of.app_id,
      functionId: found.function_id,
      containerId: undefined,
      callId: found.call_id,
    };
    // Nothing was printed by it before it was there.
    const accepted = isMap(found) ? found.created_at : found.accepted_at;
    const since = request.since ?? new Date(accepted.getTime() - CLOCKS_MS);
    for await (const line of readLogs(context, filter, { ...request, since }, call)) yield { line };
  };
