import type { GetEnvironmentRequest, GetEnvironmentResponse } from '@berth/contracts/workspace/v1/workspace';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { DEFAULT_ENVIRONMENT, isEnvironmentName } from '../domain/environment';
import { findEnvironment } from '../store/environment-store';
import { environmentToProto } from './to-proto';

/** An environment of the caller's workspace; without a name, the default one. */
export const getEnvironment =
  ({ db }: Context) =>
  async (request: GetEnvironmentRequest, call: CallContext): Promise<GetEnvironmentResponse> => {
    const workspaceId = workspaceOf(call);
    const name = request.name || DEFAULT_ENVIRONMENT;
    const row = isEnvironmentName(name) ? await findEnvironment(db, workspaceId, name) : undefined;
    if (!row) {
      throw new BerthError(
        'not_found',
        'No such environment in this workspace: GET /v1/environments lists those there are.',
        { field: 'name' },
      );
    }
    return { environment: environmentToProto(row) };
  };
