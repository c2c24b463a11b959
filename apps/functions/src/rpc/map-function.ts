import { createHash } from 'node:crypto';
import type { MapFunctionRequest, MapFunctionResponse } from '@berth/contracts/functions/v1/functions';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { isFinal } from '../domain/input-state';
import { cursorOf, MAP_INPUTS_MAX, type OutputOrder } from '../domain/map';
import { endMap } from '../maps/end-map';
import { composeInputs, fieldOfInput, originOf, sendInputs } from '../maps/new-inputs';
import { readOutputs, readUntilFailure } from '../maps/outputs';
import { insertInputs, insertMap, type NewInput } from '../store/map-store';
import { joinEarlier } from './accept';
import { checkInputs } from './check-inputs';
import { newWebhook, type NewWebhook } from './new-webhook';
import { outputToProto } from './to-proto';

/** Inputs that one statement writes. */
const WRITTEN_MAX = 1000;

/** Calls a function for each input and gives the outcomes as they come. The call goes on without its caller. */
export const mapFunction = (context: Context) =>
  async function* (request: MapFunctionRequest, call: CallContext): AsyncGenerator<MapFunctionResponse> {
    const callId = await acceptMap(context, request, call);
    const { signal } = call;
    const order: OutputOrder = (request.orderOutputs ?? true) ? 'index' : 'recorded';
    const outputs = request.returnExceptions
      ? readOutputs(
          context,
          { callId, isMap: true },
          { order, after: order === 'index' ? -1 : 0, follow: true, signal },
        )
      : readUntilFailure(context, callId, { order, signal });
    for await (const output of outputs) {
      const isLast = !request.returnExceptions && isFinal(output.state) && output.state !== 'success';
      if (isLast) await endMap(context, callId, 'failed');
      yield { output: outputToProto(output, cursorOf(order, output)) };
    }
  };

/** Writes the call and all its inputs, once for each Idempotency-Key. */
async function acceptMap(context: Context, request: MapFunctionRequest, call: CallContext): Promise<string> {
  if (request.inputs.length > MAP_INPUTS_MAX) {
    throw new BerthError(
      'invalid',
      `inputs has more than ${MAP_INPUTS_MAX}: open a call with POST /v1/functions/{function_id}/function-calls, and put them to it in parts.`,
      { field: 'inputs' },
    );
  }
  const workspaceId = workspaceOf(call);
  const { functionId } = request;
  const { idempotencyKey } = call;
  const inputs = composeInputs(request.inputs);
  await checkInputs(context, functionId, inputs, call, fieldOfInput);
  const webhook = newWebhook(context, request.webhook);
  const requestHash = hashOf(request, inputs, webhook);
  const accepted = await context.db.transact(async (tx) => {
    const map = await insertMap(tx, {
      workspaceId,
      functionId,
      idempotencyKey,
      requestHash: idempotencyKey === undefined ? undefined : requestHash,
      closed: true,
    });
    if (!map) return undefined;
    await webhook?.write(tx, workspaceId, map.id);
    const origin = originOf(call);
    const outbox = [];
    for (let from = 0; from < inputs.length; from += WRITTEN_MAX) {
      outbox.push(...(await insertInputs(tx, map, inputs.slice(from, from + WRITTEN_MAX), origin)));
    }
    return { map, outbox };
  });
  if (!accepted) return joinEarlier(context.db, { workspaceId, functionId, idempotencyKey, requestHash });
  sendInputs(context, accepted.map, accepted.outbox);
  return accepted.map.id;
}

function hashOf(
  { orderOutputs, returnExceptions }: MapFunctionRequest,
  inputs: readonly NewInput[],
  webhook: NewWebhook | undefined,
): Buffer {
  const hash = createHash('sha256').update(`map ${orderOutputs ?? true} ${returnExceptions}`);
  for (const { format, payload, blob = '' } of inputs) {
    hash.update(`\n${format} ${blob} ${payload.length}\n`).update(payload);
  }
  if (webhook) hash.update(webhook.hashed);
  return hash.digest();
}
