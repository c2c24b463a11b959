import type { InvokeFunctionRequest, InvokeFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { isFinal } from '../domain/input-state';
import { findCall, isMap } from '../store/call-store';
import { accept } from './accept';
import { callToProto } from './to-proto';

/**
 * Calls a function and waits for the outcome of the call, which goes on without its caller. Nobody is told of the call
 * before its outcome is on disk, and with that all that was written before it: so its acceptance need not wait for the
 * disk by itself (decision 7).
 */
export const invokeFunction =
  (context: Context) =>
  async (request: InvokeFunctionRequest, call: CallContext): Promise<InvokeFunctionResponse> => {
    const { callId, joined } = await accept(context, request, call, { durable: false });
    const ended = context.waiting.wait(callId, call.signal);
    if (joined) {
      ended.catch(() => undefined); // Not waited for when it has ended already.
      const found = await findCall(context.db, workspaceOf(call), callId);
      if (found && !isMap(found) && isFinal(found.state)) {
        context.waiting.announceHere(found);
        return { invocation: callToProto(found) };
      }
    }
    return { invocation: callToProto(await ended) };
  };
