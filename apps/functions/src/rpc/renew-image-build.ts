import type { RenewImageBuildRequest, RenewImageBuildResponse } from '@berth/contracts/functions/v1/images';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { renewImage } from '../store/image-store';

/** A build goes on. */
export const renewImageBuild =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ imageId, attempt }: RenewImageBuildRequest): Promise<RenewImageBuildResponse> => {
    if (await renewImage(db, imageId, attempt)) return {};
    throw new BerthError('precondition', 'This build is over, or is not wanted any more: end it.');
  };
