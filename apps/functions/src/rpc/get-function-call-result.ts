import type {
  GetFunctionCallResultRequest,
  GetFunctionCallResultResponse,
} from '@berth/contracts/functions/v1/functions';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findCall } from '../store/call-store';
import { findOutput } from '../store/map-store';
import { noSuchCall } from './not-found';

/** The bytes of one result, as the container gave them. */
export const getFunctionCallResult =
  ({ db }: Pick<Context, 'db'>) =>
  async (
    { callId, index }: GetFunctionCallResultRequest,
    call: CallContext,
  ): Promise<GetFunctionCallResultResponse> => {
    if (!(await findCall(db, workspaceOf(call), callId))) throw noSuchCall();
    const output = await findOutput(db, callId, index);
    if (!output) {
      throw new BerthError('precondition', 'There is no such input, or it has not ended: look again later.', {
        field: 'index',
      });
    }
    if (!output.result) {
      throw new BerthError('precondition', `It ended as ${output.state} and has no result but an error.`, {
        field: 'index',
      });
    }
    if (output.result_blob) {
      throw new BerthError(
        'precondition',
        `The result is too large for one answer: its chunks are named by GET /v1/trees/${output.result_blob}.`,
        { field: 'index' },
      );
    }
    return { content: output.result, format: output.result_format! };
  };
