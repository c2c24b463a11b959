import type {
  FindMissingSecretsRequest,
  FindMissingSecretsResponse,
} from '@berth/contracts/workspace/v1/secret';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listSealedSecrets } from '../store/secret-store';

/** Says which names no secret of the environment has, in the order in which they were asked for. */
export const findMissingSecrets =
  ({ db }: Context) =>
  async (
    { environment, names }: FindMissingSecretsRequest,
    call: CallContext,
  ): Promise<FindMissingSecretsResponse> => {
    const found = await listSealedSecrets(db, { workspaceId: workspaceOf(call), environment, names });
    const known = new Set(found.map(({ name }) => name));
    return { missing: names.filter((name) => !known.has(name)) };
  };
