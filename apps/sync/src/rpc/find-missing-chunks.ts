import type { FindMissingChunksRequest, FindMissingChunksResponse } from '@berth/contracts/sync/v1/sync';
import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkHash } from '../domain/chunk';
import { workspaceAsked } from './workspace-asked';

const HASHES_MAX = 10_000;

/** Says which chunks the caller's workspace lacks, each once, in the order in which they were asked for. */
export const findMissingChunks =
  ({ chunks }: Context) =>
  async (
    { hashes, workspaceId: named }: FindMissingChunksRequest,
    call: CallContext,
  ): Promise<FindMissingChunksResponse> => {
    const workspaceId = workspaceAsked(call, named);
    if (hashes.length > HASHES_MAX) {
      throw new BerthError('invalid', `hashes has more than ${HASHES_MAX}: ask in several requests.`, {
        field: 'hashes',
      });
    }
    for (const hash of hashes) checkHash(hash, 'hashes');
    const sizes = await chunks.sizes(workspaceId, hashes);
    return { missing: [...new Set(hashes)].filter((hash) => sizes.get(hash) === undefined) };
  };
