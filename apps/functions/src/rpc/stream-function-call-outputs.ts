import {
  OutputOrder as OutputOrderMessage,
  type StreamFunctionCallOutputsRequest,
  type StreamFunctionCallOutputsResponse,
} from '@berth/contracts/functions/v1/functions';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { cursorOf, readCursor, type OutputOrder } from '../domain/map';
import { readOutputs } from '../maps/outputs';
import { findCall, isMap } from '../store/call-store';
import { noSuchCall } from './not-found';
import { outputToProto } from './to-proto';

/** Gives the outputs of a call after a cursor, as fast as they are read. */
export const streamFunctionCallOutputs = (context: Pick<Context, 'db' | 'waiting'>) =>
  async function* (
    { callId, order: asked, after, follow }: StreamFunctionCallOutputsRequest,
    call: CallContext,
  ): AsyncGenerator<StreamFunctionCallOutputsResponse> {
    const found = await findCall(context.db, workspaceOf(call), callId);
    if (!found) throw noSuchCall();
    const order = orderFromProto(asked);
    const reading = { order, after: readCursor(order, after), follow, signal: call.signal };
    for await (const output of readOutputs(context, { callId, isMap: isMap(found) }, reading)) {
      yield { output: outputToProto(output, cursorOf(order, output)) };
    }
  };

/** Errors: `invalid`. */
function orderFromProto(order: OutputOrderMessage): OutputOrder {
  switch (order) {
    case OutputOrderMessage.OUTPUT_ORDER_UNSPECIFIED:
    case OutputOrderMessage.OUTPUT_ORDER_RECORDED:
      return 'recorded';
    case OutputOrderMessage.OUTPUT_ORDER_INDEX:
      return 'index';
    default:
      throw new BerthError('invalid', 'order is recorded or index.', { field: 'order' });
  }
}
