import type { PutChunkRequest, PutChunkResponse } from '@berth/contracts/sync/v1/sync';
import type { CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkChunk } from '../domain/chunk';
import { workspaceAsked } from './workspace-asked';

/** Stores one chunk in the caller's workspace. Repeatable. */
export const putChunk =
  ({ chunks }: Context) =>
  async (
    { hash, content, workspaceId: named }: PutChunkRequest,
    call: CallContext,
  ): Promise<PutChunkResponse> => {
    const workspaceId = workspaceAsked(call, named);
    checkChunk(hash, content);
    await chunks.put(workspaceId, hash, content);
    return {};
  };
