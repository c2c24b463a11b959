import type { Sql } from '@berth/database';
import { BerthError } from '@berth/service-kit';
import { DEFAULT_ENVIRONMENT, isEnvironmentName } from '../domain/environment';
import type { Environment } from '../store/entities';
import { findEnvironment } from '../store/environment-store';

/** The environment of this name; without a name, the default one. Errors: `not_found` with the field `environment`. */
export async function environmentNamed(sql: Sql, workspaceId: string, given: string): Promise<Environment> {
  const name = given || DEFAULT_ENVIRONMENT;
  const row = isEnvironmentName(name) ? await findEnvironment(sql, workspaceId, name) : undefined;
  if (row) return row;
  throw new BerthError(
    'not_found',
    'No such environment in this workspace: GET /v1/environments lists those there are.',
    { field: 'environment' },
  );
}
