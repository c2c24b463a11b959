import type { Tree as TreeMessage, TreeEntry } from '@berth/contracts/sync/v1/sync';
import { BerthError } from '@berth/service-kit';
import type { ManifestEntry } from '../domain/manifest';
import type { Tree } from '../store/entities';

export const entryToProto = (entry: ManifestEntry): TreeEntry => ({ ...entry, size: BigInt(entry.size) });

/** A size beyond what a number holds exactly stays beyond it, and is refused as a size by `toManifest`. */
export const entryFromProto = ({ path, executable, size, chunks }: TreeEntry): ManifestEntry => ({
  path,
  executable,
  size: Number(size),
  chunks,
});

export const treeToProto = (row: Tree): TreeMessage => ({
  treeId: row.id,
  entries: row.manifest.map(entryToProto),
  contentHash: row.content_hash,
  createdAt: row.created_at,
});

export const noSuchTree = () =>
  new BerthError('not_found', 'No such tree in this workspace: check tree_id.', { field: 'tree_id' });
