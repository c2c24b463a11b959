import type { UpdateSecretRequest, UpdateSecretResponse } from '@berth/contracts/workspace/v1/secret';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkSecretEnv, noSuchSecret, variablesOf } from '../domain/secret';
import { findSecret, replaceSecret } from '../store/secret-store';
import { secretToProto } from './to-proto';

/** Replaces all variables of a secret. A repeat changes nothing but the time. */
export const updateSecret =
  ({ db, seal }: Context) =>
  async ({ secretId, env }: UpdateSecretRequest, call: CallContext): Promise<UpdateSecretResponse> => {
    const workspaceId = workspaceOf(call);
    checkSecretEnv(env);
    const replacement = {
      variables: variablesOf(env),
      ...seal.close(secretId, Buffer.from(JSON.stringify(env))),
    };
    return db.transact(async (tx) => {
      if (!(await replaceSecret(tx, workspaceId, secretId, replacement))) throw noSuchSecret();
      return { secret: secretToProto((await findSecret(tx, workspaceId, secretId))!) };
    });
  };
