import type { DeleteImageRequest, DeleteImageResponse } from '@berth/contracts/functions/v1/images';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { deleteImageRow, findUser, lockImage } from '../store/image-store';
import { noSuchImage } from './not-found';

/** Removes an image that no function uses. Its runner hears with the next renewal that nobody wants it any more. */
export const deleteImage =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ imageId }: DeleteImageRequest, call: CallContext): Promise<DeleteImageResponse> => {
    const workspaceId = workspaceOf(call);
    await db.transact(async (tx) => {
      const image = await lockImage(tx, workspaceId, imageId);
      if (!image) throw noSuchImage();
      const user = await findUser(tx, image.id);
      if (user) {
        throw new BerthError(
          'precondition',
          `The function ${user} uses this image: give it another one, or stop its app.`,
        );
      }
      await deleteImageRow(tx, image.id);
    });
    return {};
  };
