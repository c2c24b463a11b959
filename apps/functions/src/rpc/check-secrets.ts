import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';

/** Errors: `not_found` with the field `secrets` for names that no secret of the app's environment has. */
export async function checkSecretsExist(
  { secrets }: Pick<Context, 'secrets'>,
  names: readonly string[],
  environment: string,
  call: CallContext,
): Promise<void> {
  if (names.length === 0) return;
  const { missing } = await secrets.findMissingSecrets({ environment, names: [...names] }, { for: call });
  if (missing.length === 0) return;
  throw new BerthError(
    'not_found',
    `The environment ${environment} has no secret ${missing.join(', ')}: make it first (POST /v1/secrets).`,
    { field: 'secrets' },
  );
}
