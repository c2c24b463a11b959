import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import type { PayloadFormat } from '../domain/payload';
import { findFunction } from '../store/function-store';
import { noSuchFunction } from './not-found';

/**
 * Whether the function's runtime reads these inputs. What all read costs no look. Errors: `invalid` at `field`;
 * `not_found` for the function.
 */
export async function checkFormats(
  db: Context['db'],
  workspaceId: string,
  functionId: string,
  inputs: readonly { format: PayloadFormat }[],
  field: string,
): Promise<void> {
  const other = inputs.find(({ format }) => format !== 'json');
  if (!other) return;
  const found = await findFunction(db, workspaceId, functionId);
  if (!found) throw noSuchFunction();
  const { runtime } = found.definition;
  if (runtime === 'python') return;
  throw new BerthError(
    'invalid',
    `The function runs on ${runtime}, which reads json and not ${other.format}: give args and kwargs.`,
    { field },
  );
}
