import type { FetchChunksRequest, FetchChunksResponse } from '@berth/contracts/sync/v1/volume';
import type { CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkHash } from '../domain/chunk';
import { readChunk } from './read-chunk';
import { workspaceAsked } from './workspace-asked';

/** Streams chunks to a runner in the order in which it names them, each checked before it is sent. */
export const fetchChunks = (context: Context) =>
  async function* (
    { workspaceId: named, hashes }: FetchChunksRequest,
    call: CallContext,
  ): AsyncGenerator<FetchChunksResponse> {
    const workspaceId = workspaceAsked(call, named);
    for (const hash of hashes) checkHash(hash, 'hashes');
    for (const hash of hashes) {
      if (call.signal.aborted) return;
      yield { content: await readChunk(context, workspaceId, hash) };
    }
  };
