import type { GetVolumeRequest, GetVolumeResponse } from '@berth/contracts/sync/v1/volume';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchVolume } from '../domain/volume';
import { findVolume } from '../store/volume-store';
import { volumeToProto } from './volume-to-proto';

/** A volume of the caller's workspace. */
export const getVolume =
  ({ db }: Context) =>
  async ({ volumeId }: GetVolumeRequest, call: CallContext): Promise<GetVolumeResponse> => {
    const volume = await findVolume(db, workspaceOf(call), volumeId);
    if (!volume) throw noSuchVolume();
    return { volume: volumeToProto(volume) };
  };
