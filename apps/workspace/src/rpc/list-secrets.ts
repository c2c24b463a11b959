import type { ListSecretsRequest, ListSecretsResponse } from '@berth/contracts/workspace/v1/secret';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listSecretRows } from '../store/secret-store';
import { environmentNamed } from './environment-named';
import { secretToProto } from './to-proto';

/** Lists the secrets of the caller's workspace, oldest first, without their values. */
export const listSecrets =
  ({ db }: Context) =>
  async (request: ListSecretsRequest, call: CallContext): Promise<ListSecretsResponse> => {
    const workspaceId = workspaceOf(call);
    const page = readPage(request);
    const environment = request.environment
      ? await environmentNamed(db, workspaceId, request.environment)
      : undefined;
    const filter = { environmentId: environment?.id, name: request.name || undefined };
    const rows = await listSecretRows(db, workspaceId, filter, page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(secretToProto), nextCursor };
  };
