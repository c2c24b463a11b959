import type { ReadVolumeFileRequest, ReadVolumeFileResponse } from '@berth/contracts/sync/v1/volume';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchFile, noSuchVolume, slicesOf, typedPath } from '../domain/volume';
import { findVolume, findVolumeFile } from '../store/volume-store';
import { readChunk } from './read-chunk';

/** The bytes of a file of the head, or of a range in it. */
export const readVolumeFile = (context: Context) =>
  async function* (
    request: ReadVolumeFileRequest,
    call: CallContext,
  ): AsyncGenerator<ReadVolumeFileResponse> {
    const { db, chunks } = context;
    const workspaceId = workspaceOf(call);
    const volume = await findVolume(db, workspaceId, request.volumeId);
    if (!volume) throw noSuchVolume();
    const file = await findVolumeFile(db, volume.id, typedPath(request.path));
    if (!file) throw noSuchFile();
    if (file.link !== null) {
      throw new BerthError(
        'invalid',
        'path is a symbolic link, and links are not followed: read its target.',
        {
          field: 'path',
        },
      );
    }
    const size = Number(file.size);
    const offset = Number(request.offset);
    const length = request.length === undefined ? size - offset : Number(request.length);
    for (const [field, bytes] of [
      ['offset', offset],
      ['length', length],
    ] as const) {
      if (bytes < 0 || offset + length > size) {
        throw new BerthError('invalid', `${field} is outside of the file, which has ${size} bytes.`, {
          field,
        });
      }
    }
    const sizes = await chunks.sizes(workspaceId, file.chunks);
    const lost = file.chunks.find((hash) => sizes.get(hash) === undefined);
    if (lost) await readChunk(context, workspaceId, lost);
    const parts = file.chunks.map((hash) => ({ hash, bytes: sizes.get(hash)! }));
    for (const { hash, start, end } of slicesOf(parts, offset, length)) {
      if (call.signal.aborted) return;
      yield { content: (await readChunk(context, workspaceId, hash)).subarray(start, end) };
    }
  };
