import { CreateWorkspaceRequest, CreateWorkspaceResponse } from '@berth/contracts/workspace/v1/workspace';
import { idempotent, isId } from '@berth/database';
import { BerthError, checkName, organizationOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { DEFAULT_ENVIRONMENT } from '../domain/environment';
import { insertEnvironment } from '../store/environment-store';
import { insertWorkspace } from '../store/workspace-store';
import { workspaceToProto } from './to-proto';

/** Makes a workspace with its default environment, all or nothing. Honours Idempotency-Key. */
export const createWorkspace =
  ({ db }: Context) =>
  async (request: CreateWorkspaceRequest, call: CallContext): Promise<CreateWorkspaceResponse> => {
    const organizationId = organizationOf(call, request.organizationId);
    if (!isId('or', organizationId)) {
      throw new BerthError('invalid', 'organization_id is not the id of an organization.', {
        field: 'organization_id',
      });
    }
    const name = checkName(request.name, 'name');
    const repeat = {
      scope: organizationId,
      method: 'CreateWorkspace',
      key: call.idempotencyKey,
      request: CreateWorkspaceRequest.encode(request).finish(),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, CreateWorkspaceResponse, async () => {
        const row = await insertWorkspace(tx, organizationId, name);
        if (!row) {
          throw new BerthError('conflict', 'The organization has a workspace of this name: choose another.', {
            field: 'name',
          });
        }
        await insertEnvironment(tx, row.id, DEFAULT_ENVIRONMENT);
        return { workspace: workspaceToProto(row) };
      }),
    );
  };
