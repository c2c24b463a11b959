import type { StreamLogsRequest, StreamLogsResponse } from '@berth/contracts/functions/v1/functions';
import { decodeLog, logSubject } from '@berth/events';
import { isId } from '@berth/database';
import { BerthError, userOf, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp } from '../store/app-store';
import { noSuchApp } from './not-found';

/** Gives the log lines of an app, oldest first, and with `follow` those to come, until the caller goes away. */
export const streamLogs = ({ db, bus, stopping }: Pick<Context, 'db' | 'bus' | 'stopping'>) =>
  async function* (request: StreamLogsRequest, call: CallContext): AsyncGenerator<StreamLogsResponse> {
    const workspaceId = workspaceOf(call);
    const app = await findApp(db, workspaceId, request.appId);
    if (!app) throw noSuchApp();
    checkFilter(request);
    const consumer = await bus.jetstream.consumers.get('BERTH_LOGS', {
      filter_subjects: logSubject({
        workspaceId,
        appId: app.id,
        functionId: request.functionId || undefined,
        containerId: containerAllowed(request, call),
      }),
    });
    const { num_pending: history } = await consumer.info();
    if (history === 0 && !request.follow) return;

    const messages = await consumer.consume();
    const stop = () => messages.stop();
    call.signal.addEventListener('abort', stop, { once: true });
    stopping.signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const message of messages) {
        const log = decodeLog(message);
        if (log && (!request.callId || log.callId === request.callId)) {
          yield {
            time: log.time,
            stream: log.stream,
            text: log.text,
            functionId: log.functionId,
            containerId: log.containerId,
            callId: log.callId,
          };
        }
        if (!request.follow && message.info.pending === 0) return;
      }
    } finally {
      call.signal.removeEventListener('abort', stop);
      stopping.signal.removeEventListener('abort', stop);
      messages.stop();
    }
  };

/** The container that is asked for; the caller's own where the caller is one. Errors: `not_found` for another. */
function containerAllowed({ containerId }: StreamLogsRequest, call: CallContext): string | undefined {
  const { credentialKind, credentialId } = userOf(call);
  if (credentialKind !== 'container') return containerId || undefined;
  if (!containerId || containerId === credentialId) return credentialId;
  throw new BerthError('not_found', 'A container sees its own log only: leave container_id out.', {
    field: 'container_id',
  });
}

/** An id is part of a subject: only what has the form of one may be. Errors: `not_found`. */
function checkFilter({ functionId, containerId, callId }: StreamLogsRequest): void {
  const wrong = (field: string) =>
    new BerthError('not_found', `${field} is not the id of such a thing: check it.`, { field });
  if (functionId && !isId('fu', functionId)) throw wrong('function_id');
  if (containerId && !isId('ta', containerId)) throw wrong('container_id');
  if (callId && !isId('fc', callId)) throw wrong('call_id');
}
