import type { ListVolumesRequest, ListVolumesResponse } from '@berth/contracts/sync/v1/volume';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listVolumeRows } from '../store/volume-store';
import { volumeToProto } from './volume-to-proto';

/** Lists the volumes of the caller's workspace, oldest first. */
export const listVolumes =
  ({ db }: Context) =>
  async (request: ListVolumesRequest, call: CallContext): Promise<ListVolumesResponse> => {
    const page = readPage(request);
    const filter = { environment: request.environment || undefined, name: request.name || undefined };
    const rows = await listVolumeRows(db, workspaceOf(call), filter, page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(volumeToProto), nextCursor };
  };
