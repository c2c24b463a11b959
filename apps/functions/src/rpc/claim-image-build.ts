import type { ClaimImageBuildRequest, ClaimImageBuildResponse } from '@berth/contracts/functions/v1/images';
import type { Context } from '../context';
import { LEASE_SECONDS } from '../domain/image-state';
import { claimImage, endLeasesOf } from '../store/image-store';
import { buildToProto } from './image-to-proto';

/** Gives a runner the next build, if there is one. */
export const claimImageBuild =
  ({ db, log }: Pick<Context, 'db' | 'log'>) =>
  async ({ nodeId, restarted }: ClaimImageBuildRequest): Promise<ClaimImageBuildResponse> => {
    if (restarted) await endLeasesOf(db, nodeId);
    const image = await claimImage(db, nodeId);
    if (image) log.info({ imageId: image.id, attempt: image.attempt, nodeId }, 'a node builds an image');
    return { build: image && buildToProto(image), leaseSeconds: LEASE_SECONDS };
  };
