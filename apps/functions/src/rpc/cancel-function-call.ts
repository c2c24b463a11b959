import type {
  CancelFunctionCallRequest,
  CancelFunctionCallResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { endMap } from '../maps/end-map';
import { findCall, isMap } from '../store/call-store';
import { terminateCall } from '../store/input-store';
import { numberOutputs } from '../store/map-store';
import { takeFromQueue } from '../waiting/queue';
import { noSuchCall } from './not-found';
import { callToProto } from './to-proto';

/** Ends a call, also one that is running: all inputs of it that are open. A call that has ended stays as it is. */
export const cancelFunctionCall =
  (context: Pick<Context, 'db' | 'bus' | 'log' | 'waiting' | 'lines' | 'autoscaler'>) =>
  async ({ callId }: CancelFunctionCallRequest, call: CallContext): Promise<CancelFunctionCallResponse> => {
    const { db, waiting, lines, autoscaler } = context;
    const found = await findCall(db, workspaceOf(call), callId);
    if (!found) throw noSuchCall();
    if (isMap(found)) {
      await endMap(context, found.call_id, 'cancelled');
      await numberOutputs(db, found.call_id);
      return { functionCall: callToProto((await findCall(db, workspaceOf(call), callId))!) };
    }
    const terminated = await terminateCall(db, found.call_id);
    waiting.announce(terminated);
    autoscaler.ended(terminated);
    lines.cancel(terminated.map(({ input_id }) => input_id));
    void takeFromQueue(context, terminated);
    return { functionCall: callToProto(terminated[0] ?? (await findCall(db, workspaceOf(call), callId))!) };
  };
