import type { GetSecretRequest, GetSecretResponse } from '@berth/contracts/workspace/v1/secret';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { noSuchSecret } from '../domain/secret';
import { findSecret } from '../store/secret-store';
import { secretToProto } from './to-proto';

/** A secret of the caller's workspace, without its values. */
export const getSecret =
  ({ db }: Context) =>
  async ({ secretId }: GetSecretRequest, call: CallContext): Promise<GetSecretResponse> => {
    const row = await findSecret(db, workspaceOf(call), secretId);
    if (!row) throw noSuchSecret();
    return { secret: secretToProto(row) };
  };
