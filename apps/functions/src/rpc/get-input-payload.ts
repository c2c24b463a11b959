import type {
  GetInputPayloadRequest,
  GetInputPayloadResponse,
} from '@berth/contracts/functions/v1/functions';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { findPayload } from '../store/input-store';

/** The arguments of an input whose message carries only a reference to them. */
export const getInputPayload =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ inputId }: GetInputPayloadRequest): Promise<GetInputPayloadResponse> => {
    const input = await findPayload(db, inputId);
    if (!input) throw new BerthError('not_found', 'No such input, or it has ended.', { field: 'input_id' });
    return input;
  };
