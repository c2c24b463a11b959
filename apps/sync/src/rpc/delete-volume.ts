import type { DeleteVolumeRequest, DeleteVolumeResponse } from '@berth/contracts/sync/v1/volume';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchVolume } from '../domain/volume';
import { deleteVolumeRow } from '../store/volume-store';

/** Removes a volume with its files, also one that functions name: their containers then say that it is missing. */
export const deleteVolume =
  ({ db }: Context) =>
  async ({ volumeId }: DeleteVolumeRequest, call: CallContext): Promise<DeleteVolumeResponse> => {
    if (!(await deleteVolumeRow(db, workspaceOf(call), volumeId))) throw noSuchVolume();
    return {};
  };
