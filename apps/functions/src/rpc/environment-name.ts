import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';

/** The name of an environment that is there; of the default one for an empty name. Errors: `not_found` with its field. */
export async function findEnvironmentName(
  workspaces: Context['workspaces'],
  name: string,
  call: CallContext,
): Promise<string> {
  try {
    const { environment } = await workspaces.getEnvironment({ name }, { for: call });
    return environment!.name;
  } catch (error) {
    if (!(error instanceof BerthError) || error.kind !== 'not_found') throw error;
    throw new BerthError('not_found', error.message, { field: 'environment', cause: error });
  }
}
