import { CreateEnvironmentRequest, CreateEnvironmentResponse } from '@berth/contracts/workspace/v1/workspace';
import { idempotent } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkEnvironmentName } from '../domain/environment';
import { maySee, noSuchWorkspace } from '../domain/visibility';
import { insertEnvironment } from '../store/environment-store';
import { findWorkspace } from '../store/workspace-store';
import { environmentToProto } from './to-proto';

/** Makes an environment in the caller's workspace. Honours Idempotency-Key. */
export const createEnvironment =
  ({ db }: Context) =>
  async (request: CreateEnvironmentRequest, call: CallContext): Promise<CreateEnvironmentResponse> => {
    const workspaceId = workspaceOf(call);
    checkEnvironmentName(request.name);
    const repeat = {
      scope: workspaceId,
      method: 'CreateEnvironment',
      key: call.idempotencyKey,
      request: CreateEnvironmentRequest.encode(request).finish(),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, CreateEnvironmentResponse, async () => {
        const workspace = await findWorkspace(tx, workspaceId);
        if (!workspace || !maySee(call.principal, workspace)) throw noSuchWorkspace();

        const row = await insertEnvironment(tx, workspaceId, request.name);
        if (!row) {
          throw new BerthError('conflict', 'The workspace has an environment of this name: choose another.', {
            field: 'name',
          });
        }
        return { environment: environmentToProto(row) };
      }),
    );
  };
