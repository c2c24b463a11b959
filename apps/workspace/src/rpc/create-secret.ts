import { CreateSecretRequest, CreateSecretResponse } from '@berth/contracts/workspace/v1/secret';
import { idempotent } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkSecretEnv, checkSecretName, variablesOf } from '../domain/secret';
import { findSecret, insertSecret, newSecretId } from '../store/secret-store';
import { environmentNamed } from './environment-named';
import { secretToProto } from './to-proto';

/** Makes a secret in an environment of the caller's workspace. Honours Idempotency-Key. */
export const createSecret =
  ({ db, seal }: Context) =>
  async (request: CreateSecretRequest, call: CallContext): Promise<CreateSecretResponse> => {
    const workspaceId = workspaceOf(call);
    const { name, env } = request;
    checkSecretName(name);
    checkSecretEnv(env);
    const repeat = {
      scope: workspaceId,
      method: 'CreateSecret',
      key: call.idempotencyKey,
      request: seal.fingerprint(CreateSecretRequest.encode(inOrder(request)).finish()),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, CreateSecretResponse, async () => {
        const environment = await environmentNamed(tx, workspaceId, request.environment);
        const id = newSecretId();
        const secret = {
          id,
          workspaceId,
          environmentId: environment.id,
          name,
          variables: variablesOf(env),
          ...seal.close(id, Buffer.from(JSON.stringify(env))),
        };
        if (!(await insertSecret(tx, secret))) {
          throw new BerthError(
            'conflict',
            'The environment has a secret of this name: update that one, or choose another name.',
            { field: 'name' },
          );
        }
        return { secret: secretToProto((await findSecret(tx, workspaceId, id))!) };
      }),
    );
  };

/** The same variables in another order are the same request. */
const inOrder = (request: CreateSecretRequest): CreateSecretRequest => ({
  ...request,
  env: Object.fromEntries(variablesOf(request.env).map((name) => [name, request.env[name]!])),
});
