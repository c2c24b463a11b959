import type {
  GetFunctionCallRequest,
  GetFunctionCallResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall, isMap } from '../store/call-store';
import { numberOutputs } from '../store/map-store';
import { findWebhook } from '../store/webhook-store';
import { explainWaiting } from '../waiting/explain-waiting';
import { noSuchCall } from './not-found';
import { callToProto, webhookToProto } from './to-proto';

/** A call of the caller's workspace; a pending one says why it waits. */
export const getFunctionCall =
  (context: Pick<Context, 'db' | 'scheduler'>) =>
  async ({ callId }: GetFunctionCallRequest, call: CallContext): Promise<GetFunctionCallResponse> => {
    const { db } = context;
    let found = await findCall(db, workspaceOf(call), callId);
    if (found && isMap(found)) {
      await numberOutputs(db, callId);
      found = await findCall(db, workspaceOf(call), callId);
    }
    if (!found) throw noSuchCall();
    const webhook = await findWebhook(context.db, found.call_id);
    const shown = callToProto(found, await explainWaiting(context, found));
    return { functionCall: { ...shown, webhook: webhook && webhookToProto(webhook) } };
  };
