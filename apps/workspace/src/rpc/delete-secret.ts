import type { DeleteSecretRequest, DeleteSecretResponse } from '@berth/contracts/workspace/v1/secret';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchSecret } from '../domain/secret';
import { deleteSecretRow } from '../store/secret-store';

/** Removes a secret, also one that functions name: their containers then say that it is missing. */
export const deleteSecret =
  ({ db }: Context) =>
  async ({ secretId }: DeleteSecretRequest, call: CallContext): Promise<DeleteSecretResponse> => {
    if (!(await deleteSecretRow(db, workspaceOf(call), secretId))) throw noSuchSecret();
    return {};
  };
