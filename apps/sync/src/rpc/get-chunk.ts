import type { GetChunkRequest, GetChunkResponse } from '@berth/contracts/sync/v1/sync';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkHash } from '../domain/chunk';

/** A chunk of the caller's workspace, checked. A damaged one is as good as none: who puts it again mends it. */
export const getChunk =
  ({ chunks }: Context) =>
  async ({ hash }: GetChunkRequest, call: CallContext): Promise<GetChunkResponse> => {
    const workspaceId = workspaceOf(call);
    checkHash(hash, 'hash');
    const content = await chunks.read(workspaceId, hash);
    if (!content) throw new BerthError('not_found', 'No such chunk in this workspace.', { field: 'hash' });
    return { content };
  };
