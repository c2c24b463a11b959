import type { GetImageBuildRequest, GetImageBuildResponse } from '@berth/contracts/functions/v1/images';
import type { Context } from '../context';
import { findImage } from '../store/image-store';
import { buildToProto } from './image-to-proto';
import { noSuchImage } from './not-found';

/** How an image is made, for a node that has to make it for itself. */
export const getImageBuild =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ imageId, workspaceId }: GetImageBuildRequest): Promise<GetImageBuildResponse> => {
    const image = await findImage(db, workspaceId, imageId);
    if (!image) throw noSuchImage();
    return { build: buildToProto(image) };
  };
