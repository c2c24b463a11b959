import type { PutChunkRequest, PutChunkResponse } from '@berth/contracts/sync/v1/sync';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkChunk } from '../domain/chunk';

/** Stores one chunk in the caller's workspace. Repeatable. */
export const putChunk =
  ({ chunks }: Context) =>
  async ({ hash, content }: PutChunkRequest, call: CallContext): Promise<PutChunkResponse> => {
    const workspaceId = workspaceOf(call);
    checkChunk(hash, content);
    await chunks.put(workspaceId, hash, content);
    return {};
  };
