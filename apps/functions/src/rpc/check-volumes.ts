import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';

/** Errors: `not_found` with the field `volumes` for names that no volume of the app's environment has. */
export async function checkVolumesExist(
  { volumes }: Pick<Context, 'volumes'>,
  mounts: Readonly<Record<string, string>>,
  environment: string,
  call: CallContext,
): Promise<void> {
  const names = Object.values(mounts);
  if (names.length === 0) return;
  const { missing } = await volumes.findMissingVolumes({ environment, names }, { for: call });
  if (missing.length === 0) return;
  throw new BerthError(
    'not_found',
    `The environment ${environment} has no volume ${missing.join(', ')}: make it first (POST /v1/volumes).`,
    { field: 'volumes' },
  );
}
