import type {
  PutFunctionCallInputsRequest,
  PutFunctionCallInputsResponse,
} from '@berth/contracts/functions/v1/functions';
import type { OutboxRow } from '@berth/events';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkIndexes, openInputs, openInputsMax, PUT_INPUTS_MAX } from '../domain/map';
import { composeInputs, fieldOfInput, originOf, sendInputs } from '../maps/new-inputs';
import { findCall } from '../store/call-store';
import {
  findContradicted,
  findIndexes,
  insertInputs,
  lockMap,
  numberOutputs,
  type LockedMap,
  type NewInput,
} from '../store/map-store';
import { checkInputs } from './check-inputs';
import { appIsStopped, functionIsDeleted, noSuchCall } from './not-found';

/** How long a request waits for room; then it says that it took nothing. Milliseconds. */
const ROOM_WAIT_MS = 20_000;

/** Takes inputs from the front of the list, as many as there is room for. */
export const putFunctionCallInputs =
  (context: Context) =>
  async (
    request: PutFunctionCallInputsRequest,
    call: CallContext,
  ): Promise<PutFunctionCallInputsResponse> => {
    const { db, waiting } = context;
    const workspaceId = workspaceOf(call);
    if (request.inputs.length > PUT_INPUTS_MAX) {
      throw new BerthError('invalid', `inputs has more than ${PUT_INPUTS_MAX}: put them in parts.`, {
        field: 'inputs',
      });
    }
    checkIndexes(request.inputs.map(({ index }) => index));
    const inputs = composeInputs(request.inputs);
    // A foreign or unknown id is told before anything is watched or numbered.
    const found = await findCall(db, workspaceId, request.callId);
    if (!found) throw noSuchCall();
    await checkInputs(context, found.function_id, inputs, call, fieldOfInput);

    const watch = waiting.watch(request.callId);
    const late = AbortSignal.timeout(ROOM_WAIT_MS);
    const signal = AbortSignal.any([call.signal, late]);
    try {
      for (;;) {
        await numberOutputs(db, request.callId);
        const put = await db.transact(async (tx) => {
          const map = await lockMap(tx, workspaceId, request.callId);
          if (!map) throw isNoMap();
          return { map, ...(await putInputs(tx, map, inputs, call)) };
        });
        sendInputs(context, put.map, put.outbox);
        if (put.accepted > 0 || inputs.length === 0) return { numAccepted: put.accepted };
        const isLate = await watch.changed(signal).then(
          () => false,
          (error: unknown) => {
            if (late.aborted && !call.signal.aborted) return true;
            throw error;
          },
        );
        if (isLate) return { numAccepted: 0 };
      }
    } finally {
      watch.close();
    }
  };

async function putInputs(
  tx: Parameters<typeof insertInputs>[0],
  map: LockedMap,
  inputs: readonly NewInput[],
  call: CallContext,
): Promise<{ accepted: number; outbox: OutboxRow[] }> {
  const present = await findIndexes(
    tx,
    map.id,
    inputs.map(({ index }) => index),
  );
  if (present.size > 0) {
    const contradicted = await findContradicted(
      tx,
      map.id,
      inputs.filter(({ index }) => present.has(index)),
    );
    if (contradicted !== undefined) {
      const place = inputs.findIndex(({ index }) => index === contradicted);
      throw new BerthError(
        'precondition',
        `The call has another input at index ${contradicted}: an index is put once.`,
        { field: `inputs[${place}].index` },
      );
    }
  }
  let room = openInputsMax(map.definition) - openInputs(map);
  const fresh: NewInput[] = [];
  let accepted = 0;
  for (const input of inputs) {
    if (!present.has(input.index)) {
      if (room-- <= 0) break;
      fresh.push(input);
    }
    accepted++;
  }
  if (present.size < inputs.length) {
    if (map.function_deleted) throw functionIsDeleted();
    if (map.app_stopped) throw appIsStopped();
    if (map.closed) throw takesNoMore();
  }
  if (fresh.length === 0) return { accepted, outbox: [] };
  return { accepted, outbox: await insertInputs(tx, map, fresh, originOf(call)) };
}

const isNoMap = () =>
  new BerthError(
    'precondition',
    'The call has its one input: open one for many with POST /v1/functions/{function_id}/function-calls.',
    { field: 'call_id' },
  );

const takesNoMore = () =>
  new BerthError('precondition', 'The call takes no more inputs: it was closed or cancelled.', {
    field: 'call_id',
  });
