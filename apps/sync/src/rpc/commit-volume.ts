import type { CommitVolumeRequest, CommitVolumeResponse } from '@berth/contracts/sync/v1/volume';
import type { CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkSizes } from '../domain/manifest';
import { checkPuts, checkRemoves, checkVolumeSize, noSuchVolume } from '../domain/volume';
import { advanceVolume, applyChanges, countFiles, findVolume, holdVolume } from '../store/volume-store';
import { volumeEntryFromProto } from './volume-to-proto';
import { workspaceAsked } from './workspace-asked';

/** Makes the next head out of the one that is there, all changes or none. What changes nothing makes none. */
export const commitVolume =
  ({ db, chunks }: Context) =>
  async (request: CommitVolumeRequest, call: CallContext): Promise<CommitVolumeResponse> => {
    const workspaceId = workspaceAsked(call, request.workspaceId);
    const puts = checkPuts(request.puts.map(volumeEntryFromProto));
    checkRemoves(request.removes);
    if (!(await findVolume(db, workspaceId, request.volumeId))) throw noSuchVolume();
    const hashes = puts.flatMap((entry) => entry.chunks);
    checkSizes(puts, await chunks.sizes(workspaceId, hashes), 'puts');
    const { removes, unlessChangedSince } = request;
    const revision = await db.transact(async (tx) => {
      const volume = await holdVolume(tx, workspaceId, request.volumeId);
      if (!volume) throw noSuchVolume();
      const next = Number(volume.revision) + 1;
      const changes = {
        puts,
        removes,
        unlessChangedSince: unlessChangedSince === undefined ? undefined : Number(unlessChangedSince),
      };
      if ((await applyChanges(tx, volume.id, next, changes)) === 0) return next - 1;
      const counted = await countFiles(tx, volume.id);
      checkVolumeSize(counted);
      await advanceVolume(tx, volume.id, { revision: next, ...counted });
      return next;
    });
    return { revision: BigInt(revision) };
  };
