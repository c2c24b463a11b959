import type {
  GetFunctionCallRequest,
  GetFunctionCallResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall } from '../store/call-store';
import { explainWaiting } from '../waiting/explain-waiting';
import { noSuchCall } from './not-found';
import { callToProto } from './to-proto';

/** A call of the caller's workspace; a pending one says why it waits. */
export const getFunctionCall =
  (context: Pick<Context, 'db' | 'scheduler'>) =>
  async ({ callId }: GetFunctionCallRequest, call: CallContext): Promise<GetFunctionCallResponse> => {
    const found = await findCall(context.db, workspaceOf(call), callId);
    if (!found) throw noSuchCall();
    return { functionCall: callToProto(found, await explainWaiting(context, found)) };
  };
