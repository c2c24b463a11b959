import type { FindMissingVolumesRequest, FindMissingVolumesResponse } from '@berth/contracts/sync/v1/volume';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listVolumeNames } from '../store/volume-store';

/** Says which names no volume of the environment has, in the order in which they were asked for. */
export const findMissingVolumes =
  ({ db }: Context) =>
  async (
    { environment, names }: FindMissingVolumesRequest,
    call: CallContext,
  ): Promise<FindMissingVolumesResponse> => {
    const known = await listVolumeNames(db, workspaceOf(call), environment, names);
    return { missing: names.filter((name) => !known.has(name)) };
  };
