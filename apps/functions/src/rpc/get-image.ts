import type { GetImageRequest, GetImageResponse } from '@berth/contracts/functions/v1/images';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { explainImage } from '../domain/image-waiting';
import { findImage } from '../store/image-store';
import { imageToProto } from './image-to-proto';
import { noSuchImage } from './not-found';

/** An image of the caller's workspace. */
export const getImage =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ imageId }: GetImageRequest, call: CallContext): Promise<GetImageResponse> => {
    const image = await findImage(db, workspaceOf(call), imageId);
    if (!image) throw noSuchImage();
    return { image: imageToProto(image, explainImage(image)) };
  };
