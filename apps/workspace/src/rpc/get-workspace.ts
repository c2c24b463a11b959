import type { GetWorkspaceRequest, GetWorkspaceResponse } from '@berth/contracts/workspace/v1/workspace';
import type { CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { maySee, noSuchWorkspace } from '../domain/visibility';
import { findWorkspace } from '../store/workspace-store';
import { workspaceToProto } from './to-proto';

/** A workspace that the caller may see. */
export const getWorkspace =
  ({ db }: Context) =>
  async ({ workspaceId }: GetWorkspaceRequest, call: CallContext): Promise<GetWorkspaceResponse> => {
    const row = await findWorkspace(db, workspaceId);
    if (!row || !maySee(call.principal, row)) throw noSuchWorkspace();
    return { workspace: workspaceToProto(row) };
  };
