import type { FinishImageBuildRequest, FinishImageBuildResponse } from '@berth/contracts/functions/v1/images';
import { IMAGE_BUILDS } from '@berth/events';
import type { Context } from '../context';
import { readableImageError } from '../domain/image-state';
import { finishImage, loseImage } from '../store/image-store';
import { announceImage } from '../loops/images';
import { imageErrorFromProto } from './image-to-proto';

/** Records how a build ended. What failed through no fault of the definition is tried again, elsewhere if need be. */
export const finishImageBuild =
  (context: Pick<Context, 'db' | 'bus' | 'log' | 'autoscaler'>) =>
  async ({ imageId, attempt, error }: FinishImageBuildRequest): Promise<FinishImageBuildResponse> => {
    const { db, bus } = context;
    if (error?.type === 'infrastructure' && (await loseImage(db, imageId, attempt))) {
      bus.nats.publish(IMAGE_BUILDS);
      return {};
    }
    const image = await finishImage(
      db,
      imageId,
      attempt,
      error && readableImageError(imageErrorFromProto(error)),
    );
    if (image) await announceImage(context, image);
    return {};
  };
