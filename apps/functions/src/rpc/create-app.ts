import { CreateAppRequest, CreateAppResponse } from '@berth/contracts/functions/v1/functions';
import { idempotent } from '@berth/database';
import { BerthError, userOf, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkPlainName } from '../domain/definition';
import { checkTags } from '../domain/tags';
import { insertApp } from '../store/app-store';
import { findEnvironmentName } from './environment-name';
import { appToProto } from './to-proto';

/** Makes an app in an environment of the caller's workspace. Honours Idempotency-Key. */
export const createApp =
  ({ db, workspaces }: Pick<Context, 'db' | 'workspaces'>) =>
  async (request: CreateAppRequest, call: CallContext): Promise<CreateAppResponse> => {
    const workspaceId = workspaceOf(call);
    const { organizationId } = userOf(call);
    checkPlainName(request.name);
    checkTags(request.tags);
    const environment = await findEnvironmentName(workspaces, request.environment, call);
    const repeat = {
      scope: workspaceId,
      method: 'CreateApp',
      key: call.idempotencyKey,
      request: CreateAppRequest.encode(request).finish(),
    };
    return db.transact((tx) =>
      idempotent(tx, repeat, CreateAppResponse, async () => {
        const row = await insertApp(tx, {
          organizationId,
          workspaceId,
          environment,
          name: request.name,
          tags: request.tags,
          state: request.ephemeral ? 'ephemeral' : 'deployed',
        });
        if (!row) {
          throw new BerthError(
            'conflict',
            'The environment has a live app of this name: use or stop that one.',
            {
              field: 'name',
            },
          );
        }
        return { app: appToProto(row) };
      }),
    );
  };
