import type { StreamLogsRequest, StreamLogsResponse } from '@berth/contracts/functions/v1/functions';
import { isId } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp } from '../store/app-store';
import { noSuchApp } from './not-found';
import { checkRange, readLogs } from './read-logs';

/** Gives the log lines of an app, oldest first, and with `follow` those to come, until the caller goes away. */
export const streamLogs = (context: Pick<Context, 'db' | 'bus' | 'stopping'>) =>
  async function* (request: StreamLogsRequest, call: CallContext): AsyncGenerator<StreamLogsResponse> {
    const workspaceId = workspaceOf(call);
    const app = await findApp(context.db, workspaceId, request.appId);
    if (!app) throw noSuchApp();
    checkFilter(request);
    checkRange(request);
    const filter = {
      workspaceId,
      appId: app.id,
      functionId: request.functionId || undefined,
      containerId: request.containerId || undefined,
      callId: request.callId || undefined,
    };
    yield* readLogs(context, filter, request, call);
  };

/** An id is part of a subject: only what has the form of one may be. Errors: `not_found`. */
function checkFilter({ functionId, containerId, callId }: StreamLogsRequest): void {
  const wrong = (field: string) =>
    new BerthError('not_found', `${field} is not the id of such a thing: check it.`, { field });
  if (functionId && !isId('fu', functionId)) throw wrong('function_id');
  if (containerId && !isId('ta', containerId)) throw wrong('container_id');
  if (callId && !isId('fc', callId)) throw wrong('call_id');
}
