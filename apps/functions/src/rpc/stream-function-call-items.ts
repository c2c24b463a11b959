import type {
  StreamFunctionCallItemsRequest,
  StreamFunctionCallItemsResponse,
} from '@berth/contracts/functions/v1/functions';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findYielding, listItems } from '../store/item-store';
import { noSuchCall } from './not-found';

/** Gives the items of a generator after an index, as fast as they are read; with `follow` until its input has ended. */
export const streamFunctionCallItems = ({ db, waiting }: Pick<Context, 'db' | 'waiting'>) =>
  async function* (
    { callId, after = -1, follow, inputIndex }: StreamFunctionCallItemsRequest,
    call: CallContext,
  ): AsyncGenerator<StreamFunctionCallItemsResponse> {
    const workspaceId = workspaceOf(call);
    if (after < -1) throw new BerthError('invalid', 'after is the index of an item.', { field: 'after' });
    const watch = waiting.watch(callId);
    try {
      let last = after;
      for (;;) {
        // Looked at before its items: what had ended by then yields no more.
        const yielding = await findYielding(db, workspaceId, callId, inputIndex);
        if (!yielding) throw noSuchCall();
        for (;;) {
          const page = await listItems(db, yielding.input_id, last);
          if (page.length === 0) break;
          for (const { index, payload } of page) yield { index, value: payload };
          last = page.at(-1)!.index;
        }
        if (yielding.ended || !follow) return;
        await watch.changed(call.signal);
      }
    } finally {
      watch.close();
    }
  };
