import { OpenVolumeResponse, type OpenVolumeRequest } from '@berth/contracts/sync/v1/volume';
import type { CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchVolume } from '../domain/volume';
import { findVolume, findVolumeNamed, holdHead, listWholeHead } from '../store/volume-store';
import { volumeFileToProto, volumeToProto } from './volume-to-proto';
import { workspaceAsked } from './workspace-asked';

/** Files of one message. */
const BATCH = 1000;

/** A volume's head as it was in one moment: which it is, and its files unless the runner has them. */
export const openVolume = ({ db }: Context) =>
  async function* (request: OpenVolumeRequest, call: CallContext): AsyncGenerator<OpenVolumeResponse> {
    const workspaceId = workspaceAsked(call, request.workspaceId);
    const { environment, name, knownRevision } = request;
    const found = request.volumeId
      ? await findVolume(db, workspaceId, request.volumeId)
      : await findVolumeNamed(db, workspaceId, environment, name);
    if (!found) throw noSuchVolume('name');
    const head = await db.transact(async (tx) => {
      const volume = await holdHead(tx, workspaceId, found.id);
      if (!volume) throw noSuchVolume('name');
      const isKnown = knownRevision !== undefined && BigInt(volume.revision) === knownRevision;
      return { volume, files: isKnown ? [] : await listWholeHead(tx, volume.id) };
    });
    yield OpenVolumeResponse.fromPartial({ volume: volumeToProto(head.volume) });
    for (let at = 0; at < head.files.length; at += BATCH) {
      yield { volume: undefined, files: head.files.slice(at, at + BATCH).map(volumeFileToProto) };
    }
  };
