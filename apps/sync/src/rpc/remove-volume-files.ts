import type { RemoveVolumeFilesRequest, RemoveVolumeFilesResponse } from '@berth/contracts/sync/v1/volume';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchFile, noSuchVolume, typedPath } from '../domain/volume';
import { advanceVolume, countFiles, holdVolume, isFolder, removeFiles } from '../store/volume-store';

/** Removes a file or a folder of the head, which makes the next one. `/` with `recursive` is everything. */
export const removeVolumeFiles =
  ({ db }: Context) =>
  async (
    { volumeId, path, recursive }: RemoveVolumeFilesRequest,
    call: CallContext,
  ): Promise<RemoveVolumeFilesResponse> => {
    const workspaceId = workspaceOf(call);
    const removed = await db.transact(async (tx) => {
      const volume = await holdVolume(tx, workspaceId, volumeId);
      if (!volume) throw noSuchVolume();
      const named = typedPath(path);
      const count = await removeFiles(tx, volume.id, named, recursive);
      if (count === 0) {
        if (recursive || !(named === '' || (await isFolder(tx, volume.id, named)))) throw noSuchFile();
        throw new BerthError('precondition', 'path is a folder: say recursive to remove what is in it.', {
          field: 'recursive',
        });
      }
      const revision = Number(volume.revision) + 1;
      await advanceVolume(tx, volume.id, { revision, ...(await countFiles(tx, volume.id)) });
      return count;
    });
    return { removed: BigInt(removed) };
  };
