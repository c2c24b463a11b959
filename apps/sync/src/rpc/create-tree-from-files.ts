import type { CreateTreeFromFilesRequest, CreateTreeFromFilesResponse } from '@berth/contracts/sync/v1/sync';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { cutChunks, hashOf } from '../domain/chunk';
import { toManifest } from '../domain/manifest';
import { ensureTree } from '../store/tree-store';
import { treeToProto } from './to-proto';

/** Stores text files as a tree: nothing is written before all paths are known to be good. */
export const createTreeFromFiles =
  ({ db, chunks }: Context) =>
  async ({ files }: CreateTreeFromFilesRequest, call: CallContext): Promise<CreateTreeFromFilesResponse> => {
    const workspaceId = workspaceOf(call);
    const contents = new Map<string, Buffer>();
    const entries = Object.entries(files).map(([path, text]) => {
      const content = Buffer.from(text, 'utf8');
      const hashes = cutChunks(content).map((chunk) => {
        const hash = hashOf(chunk);
        contents.set(hash, chunk);
        return hash;
      });
      return { path, executable: false, size: content.length, chunks: hashes };
    });
    if (entries.length === 0) {
      throw new BerthError('invalid', 'files is empty: give at least one, as {path: text}.', {
        field: 'files',
      });
    }
    const manifest = toManifest(entries, 'files');
    for (const [hash, content] of contents) await chunks.put(workspaceId, hash, content);
    return { tree: treeToProto(await ensureTree(db, workspaceId, manifest)) };
  };
