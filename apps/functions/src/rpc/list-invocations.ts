import type {
  ListInvocationsRequest,
  ListInvocationsResponse,
} from '@berth/contracts/functions/v1/functions';
import { cursorAfter, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listCallRows, listUncounted } from '../store/call-store';
import { numberOutputs } from '../store/map-store';
import { findFunction } from '../store/function-store';
import { noSuchFunction } from './not-found';
import { callToProto } from './to-proto';

/** Lists the calls of a function, newest first. */
export const listInvocations =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListInvocationsRequest, call: CallContext): Promise<ListInvocationsResponse> => {
    const page = readPage(request);
    const found = await findFunction(db, workspaceOf(call), request.functionId);
    if (!found) throw noSuchFunction();
    for (const callId of await listUncounted(db, found.function_id, page)) await numberOutputs(db, callId);
    const { rows, more } = await listCallRows(db, found.function_id, page);
    return {
      data: rows.map((row) => callToProto(row)),
      nextCursor: more ? cursorAfter(rows.at(-1)!.call_id) : '',
    };
  };
