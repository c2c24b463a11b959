import { hash } from 'node:crypto';
import type { ServeWebRequestRequest, ServeWebRequestResponse } from '@berth/contracts/functions/v1/web';
import { BerthError, injectTrace, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { isFinal } from '../domain/input-state';
import { WEB_FORMAT, webPayload } from '../domain/web';
import { acceptCall, findCalls, findRepeated } from '../store/call-store';
import { terminateCall } from '../store/input-store';
import { findWebFunctionById } from '../store/web-store';
import { takeFromQueue } from '../waiting/queue';
import { noSuchEndpoint } from './find-web-function';
import { callToProto } from './to-proto';

/**
 * Calls a function for one web request and waits for its outcome. The session is the call's idempotency key. The one who
 * waits is the client's only reader, so when it goes away the call has no meaning any more and is cancelled.
 */
export const serveWebRequest =
  (context: Context) =>
  async (request: ServeWebRequestRequest, call: CallContext): Promise<ServeWebRequestResponse> => {
    const { callId, joined } = await acceptOnce(context, request, call);
    const ended = context.waiting.wait(callId, call.signal);
    try {
      if (joined) {
        ended.catch(() => undefined); // Not waited for when it has ended already.
        const [found] = await findCalls(context.db, [callId]);
        if (found && isFinal(found.state)) context.waiting.announceHere(found);
      }
      return { invocation: callToProto(await ended) };
    } catch (error) {
      if (call.signal.aborted) await cancel(context, callId);
      throw error;
    }
  };

async function acceptOnce(
  { db, relay, autoscaler, log }: Context,
  { functionId, sessionId, gatewayAddress, proxyWorkspaceId }: ServeWebRequestRequest,
  call: CallContext,
): Promise<{ callId: string; joined: boolean }> {
  const found = await findWebFunctionById(db, functionId);
  if (!found) throw noSuchEndpoint();
  if (found.web.requires_proxy_auth && proxyWorkspaceId !== found.workspace_id) {
    throw new BerthError('denied', 'This endpoint needs a proxy token of its workspace.');
  }
  const payload = webPayload(sessionId, gatewayAddress);
  const accepted = await acceptCall(db, {
    workspaceId: found.workspace_id,
    functionId,
    idempotencyKey: sessionId,
    requestHash: hash('sha256', payload, 'buffer'),
    format: WEB_FORMAT,
    blob: undefined,
    payload,
    traceparent: injectTrace().traceparent ?? call.traceparent ?? '',
    acceptedAt: new Date(),
    // Nobody is told of it before its outcome is on disk, as in InvokeFunction.
    durable: false,
  });
  if (accepted) {
    relay.publish([accepted.outbox]).catch((error: unknown) => {
      log.warn({ err: error, callId: accepted.callId }, 'an input waits in the outbox');
    });
    autoscaler.accepted(functionId, accepted.version);
    return { callId: accepted.callId, joined: false };
  }
  const earlier = await findRepeated(db, functionId, sessionId);
  if (!earlier) throw noSuchEndpoint();
  return { callId: earlier.id, joined: true };
}

async function cancel(context: Context, callId: string): Promise<void> {
  const { db, waiting, lines, autoscaler } = context;
  const terminated = await terminateCall(db, callId);
  waiting.announce(terminated);
  autoscaler.ended(terminated);
  lines.cancel(terminated.map(({ input_id }) => input_id));
  void takeFromQueue(context, terminated);
}
