import { GetTreeRequest } from '@berth/contracts/sync/v1/sync';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { isBlob, type Payload } from '../domain/payload';
import { findFunction } from '../store/function-store';
import { noSuchFunction } from './not-found';

/**
 * Whether the function's runtime reads these inputs, and what they name is there. JSON in the request itself costs no
 * look. `fieldOf` names a field of the input at a place. Errors: `invalid` and `not_found` with the field at fault.
 */
export async function checkInputs(
  { db, sync }: Pick<Context, 'db' | 'sync'>,
  functionId: string,
  inputs: readonly Pick<Payload, 'format' | 'blob'>[],
  call: CallContext,
  fieldOf: (place: number, name: 'format' | 'blob') => string,
): Promise<void> {
  const special = inputs.findIndex(({ format, blob }) => format !== 'json' || blob !== undefined);
  if (special === -1) return;
  const found = await findFunction(db, workspaceOf(call), functionId);
  if (!found) throw noSuchFunction();
  const { runtime } = found.definition;
  if (runtime !== 'python') {
    const { blob, format } = inputs[special]!;
    const what = blob === undefined ? format : 'blobs';
    throw new BerthError(
      'invalid',
      `The function runs on ${runtime}, which reads arguments as json in the request, not ${what}: give args and kwargs.`,
      { field: fieldOf(special, blob === undefined ? 'format' : 'blob') },
    );
  }
  const known = new Set<string>();
  for (const [place, { blob }] of inputs.entries()) {
    if (blob === undefined || known.has(blob)) continue;
    await checkBlob(sync, blob, call, fieldOf(place, 'blob'));
    known.add(blob);
  }
}

async function checkBlob(
  sync: Context['sync'],
  treeId: string,
  call: CallContext,
  field: string,
): Promise<void> {
  const { tree } = await sync
    .getTree(GetTreeRequest.fromPartial({ treeId }), { for: call })
    .catch((error: unknown) => {
      if (!(error instanceof BerthError) || error.kind !== 'not_found') throw error;
      throw new BerthError('not_found', `${field} is no tree of this workspace: upload it first.`, { field });
    });
  if (isBlob(tree!.entries)) return;
  throw new BerthError('invalid', `${field} must be a tree of one file, at most 512 MiB large.`, { field });
}
