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
import { newWebhook } from './new-webhook';
import { callToProto } from './to-proto';

const EMPTY = Buffer.alloc(0);

/** Makes a call that is given its inputs afterwards. */
export const openFunctionCall =
  (context: Pick<Context, 'db' | 'webhookSeal' | 'config'>) =>
  async (
    { functionId, webhook: given }: OpenFunctionCallRequest,
    call: CallContext,
  ): Promise<OpenFunctionCallResponse> => {
    const { db } = context;
    const workspaceId = workspaceOf(call);
    const { idempotencyKey } = call;
    const webhook = newWebhook(context, given);
    const requestHash = hash(
      'sha256',
      Buffer.concat([Buffer.from('open'), webhook?.hashed ?? EMPTY]),
      'buffer',
    );
    const opened = await db.transact(async (tx) => {
      const map = await insertMap(tx, {
        workspaceId,
        functionId,
        idempotencyKey,
        requestHash: idempotencyKey === undefined ? undefined : requestHash,
        closed: false,
      });
      if (map) await webhook?.write(tx, workspaceId, map.id);
      return map;
    });
    const callId =
      opened?.id ?? (await joinEarlier(db, { workspaceId, functionId, idempotencyKey, requestHash }));
    return { functionCall: callToProto((await findCall(db, workspaceId, callId))!) };
  };
