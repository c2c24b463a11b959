import type { CreateVolumeRequest, CreateVolumeResponse } from '@berth/contracts/sync/v1/volume';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkVolumeName } from '../domain/volume';
import { ensureVolume } from '../store/volume-store';
import { volumeToProto } from './volume-to-proto';

/** Makes a volume in an environment of the caller's workspace, or gives the one of this name. */
export const createVolume =
  ({ db, workspaces }: Context) =>
  async ({ name, environment }: CreateVolumeRequest, call: CallContext): Promise<CreateVolumeResponse> => {
    const workspaceId = workspaceOf(call);
    checkVolumeName(name);
    const found = await findEnvironmentName(workspaces, environment, call);
    return { volume: volumeToProto(await ensureVolume(db, { workspaceId, environment: found, name })) };
  };

/** Errors: `not_found` with the field that the caller wrote. */
async function findEnvironmentName(workspaces: Context['workspaces'], name: string, call: CallContext) {
  try {
    const { environment } = await workspaces.getEnvironment({ name }, { for: call });
    return environment!.name;
  } catch (error) {
    if (!(error instanceof BerthError) || error.kind !== 'not_found') throw error;
    throw new BerthError('not_found', error.message, { field: 'environment', cause: error });
  }
}
