import type { SpawnFunctionRequest, SpawnFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall } from '../store/call-store';
import { findWebhook } from '../store/webhook-store';
import { accept } from './accept';
import { callToProto, webhookToProto } from './to-proto';

/** Calls a function and answers as soon as the call is written. */
export const spawnFunction =
  (context: Context) =>
  async (request: SpawnFunctionRequest, call: CallContext): Promise<SpawnFunctionResponse> => {
    const { callId } = await accept(context, request, call, { durable: true });
    const found = await findCall(context.db, workspaceOf(call), callId);
    const webhook = request.webhook && (await findWebhook(context.db, callId));
    return { functionCall: { ...callToProto(found!), webhook: webhook && webhookToProto(webhook) } };
  };
