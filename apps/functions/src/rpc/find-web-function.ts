import type { FindWebFunctionRequest, FindWebFunctionResponse } from '@berth/contracts/functions/v1/web';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { findWebFunction as find } from '../store/web-store';
import { webToProto } from './to-proto';

/** Who answers under a label. */
export const findWebFunction =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ label }: FindWebFunctionRequest): Promise<FindWebFunctionResponse> => {
    const found = await find(db, label);
    if (!found) throw noSuchEndpoint();
    return {
      functionId: found.function_id,
      workspaceId: found.workspace_id,
      web: webToProto(found.web),
    };
  };

export const noSuchEndpoint = () =>
  new BerthError('not_found', 'No web endpoint answers here: check the URL, and that its app is deployed.');
