import type { FetchTreeRequest, FetchTreeResponse } from '@berth/contracts/sync/v1/sync';
import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findTree } from '../store/tree-store';
import { entryToProto, noSuchTree } from './to-proto';

/** Streams a tree to a runner: each entry, then its bytes. A chunk is checked before any byte of it is sent. */
export const fetchTree = ({ db, chunks, log }: Context) =>
  async function* (
    { workspaceId, treeId }: FetchTreeRequest,
    call: CallContext,
  ): AsyncGenerator<FetchTreeResponse> {
    const tree = await findTree(db, workspaceId, treeId);
    if (!tree) throw noSuchTree();
    for (const entry of tree.manifest) {
      yield { part: { $case: 'entry', value: entryToProto(entry) } };
      for (const hash of entry.chunks) {
        if (call.signal.aborted) return;
        const content = await chunks.read(workspaceId, hash);
        if (!content) {
          log.error({ workspaceId, treeId, hash }, 'a chunk is missing or damaged');
          throw new BerthError(
            'data_loss',
            'A chunk of this tree is missing or damaged: put its files again, which mends it.',
          );
        }
        yield { part: { $case: 'content', value: content } };
      }
    }
  };
