import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findImage } from '../store/image-store';
import { noSuchImage } from './not-found';

/**
 * An image that is named by its id is the workspace's, and may still be built. Errors: `not_found`; `precondition` for one
 * that could not be built.
 */
export async function checkImageExists(
  { db }: Pick<Context, 'db'>,
  id: string,
  call: CallContext,
): Promise<void> {
  if (!id.startsWith('im-')) return;
  const image = await findImage(db, workspaceOf(call), id);
  const field = { field: 'image' };
  if (!image) throw new BerthError('not_found', noSuchImage().message, field);
  if (image.state !== 'failed') return;
  throw new BerthError('precondition', `The image ${id} could not be built: ${image.error!.message}`, field);
}
