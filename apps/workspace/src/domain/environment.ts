import { BerthError } from '@berth/service-kit';

/** The environment that every workspace has from its first moment; what an empty name means. */
export const DEFAULT_ENVIRONMENT = 'main';

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export const isEnvironmentName = (name: string): boolean => NAME.test(name);

/** Errors: `invalid`. Environment names stand in URLs and commands, so they are plain. */
export function checkEnvironmentName(name: string): void {
  if (isEnvironmentName(name)) return;
  throw new BerthError(
    'invalid',
    "name must be 1 to 63 of a-z, 0-9, '-', '_', '.', beginning with a letter or digit.",
    { field: 'name' },
  );
}
