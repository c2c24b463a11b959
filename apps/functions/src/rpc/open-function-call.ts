import { hash } from 'node:crypto';
import type {
  OpenFunctionCallRequest,
  OpenFunctionCallResponse,
} from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall } from '../store/call-store';
import { insertMap } from '../store/map-store';
import { joinEarlier } from './accept';
import { callToProto } from './to-proto';

const REQUEST_HASH = hash('sha256', 'open', 'buffer');

/** Makes a call that is given its inputs afterwards. */
export const openFunctionCall =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ functionId }: OpenFunctionCallRequest, call: CallContext): Promise<OpenFunctionCallResponse> => {
    const workspaceId = workspaceOf(call);
    const { idempotencyKey } = call;
    const opened = await insertMap(db, {
      workspaceId,
      functionId,
      idempotencyKey,
      requestHash: idempotencyKey === undefined ? undefined : REQUEST_HASH,
      closed: false,
    });
    const callId =
      opened?.id ??
      (await joinEarlier(db, { workspaceId, functionId, idempotencyKey, requestHash: REQUEST_HASH }));
    return { functionCall: callToProto((await findCall(db, workspaceId, callId))!) };
  };
