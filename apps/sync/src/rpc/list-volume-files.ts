import type { ListVolumeFilesRequest, ListVolumeFilesResponse } from '@berth/contracts/sync/v1/volume';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { faultOfPath } from '../domain/manifest';
import { noSuchVolume, typedPath } from '../domain/volume';
import { findVolume, listVolumeFileRows } from '../store/volume-store';
import { volumeFileToProto } from './volume-to-proto';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;

/** Lists the files of a volume's head by path. */
export const listVolumeFiles =
  ({ db }: Context) =>
  async (request: ListVolumeFilesRequest, call: CallContext): Promise<ListVolumeFilesResponse> => {
    const limit = request.limit || LIMIT_DEFAULT;
    if (limit < 1 || limit > LIMIT_MAX) {
      throw new BerthError('invalid', `limit must be from 1 to ${LIMIT_MAX}.`, { field: 'limit' });
    }
    const after = readCursor(request.cursor);
    const volume = await findVolume(db, workspaceOf(call), request.volumeId);
    if (!volume) throw noSuchVolume();
    const rows = await listVolumeFileRows(db, volume.id, typedPath(request.path), { limit, after });
    const data = rows.slice(0, limit);
    const nextCursor = rows.length > limit ? Buffer.from(data.at(-1)!.path).toString('base64url') : '';
    return { data: data.map(volumeFileToProto), nextCursor };
  };

/** The path after which a page begins: any text that a path can be, unlike other lists' cursors. Errors: `invalid`. */
function readCursor(cursor: string): string {
  if (!cursor) return '';
  const path = Buffer.from(cursor, 'base64url').toString('utf8');
  if (faultOfPath(path) === undefined && Buffer.from(path).toString('base64url') === cursor) return path;
  throw new BerthError('invalid', 'cursor is not one that this list gave: start again without it.', {
    field: 'cursor',
  });
}
