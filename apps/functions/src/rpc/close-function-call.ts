import type {
  CloseFunctionCallRequest,
  CloseFunctionCallResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall, isMap } from '../store/call-store';
import { closeMap, numberOutputs } from '../store/map-store';
import { noSuchCall } from './not-found';
import { callToProto } from './to-proto';

/** Says that a call gets no more inputs. A single call never does. */
export const closeFunctionCall =
  ({ db, waiting }: Pick<Context, 'db' | 'waiting'>) =>
  async ({ callId }: CloseFunctionCallRequest, call: CallContext): Promise<CloseFunctionCallResponse> => {
    const workspaceId = workspaceOf(call);
    const found = await findCall(db, workspaceId, callId);
    if (!found) throw noSuchCall();
    if (isMap(found)) {
      await closeMap(db, callId);
      waiting.announceChange(callId);
      await numberOutputs(db, callId);
    }
    return { functionCall: callToProto((await findCall(db, workspaceId, callId))!) };
  };
