import type { CreateTreeRequest, CreateTreeResponse } from '@berth/contracts/sync/v1/sync';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkSizes, toManifest } from '../domain/manifest';
import { ensureTree } from '../store/tree-store';
import { entryFromProto, treeToProto } from './to-proto';

/** Makes a tree of chunks that are there. The same content is the same tree, so a repeat changes nothing. */
export const createTree =
  ({ db, chunks }: Context) =>
  async ({ entries }: CreateTreeRequest, call: CallContext): Promise<CreateTreeResponse> => {
    const workspaceId = workspaceOf(call);
    const manifest = toManifest(entries.map(entryFromProto), 'entries');
    const hashes = manifest.flatMap((entry) => entry.chunks);
    checkSizes(manifest, await chunks.sizes(workspaceId, hashes), 'entries');
    return { tree: treeToProto(await ensureTree(db, workspaceId, manifest)) };
  };
