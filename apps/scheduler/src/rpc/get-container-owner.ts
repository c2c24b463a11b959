import type {
  GetContainerOwnerRequest,
  GetContainerOwnerResponse,
} from '@berth/contracts/scheduler/v1/scheduler';
import { isId } from '@berth/database';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { findLiveOwner } from '../store/container-store';

/** Whose a container is that lives. */
export const getContainerOwner =
  ({ db }: Pick<Context, 'db'>) =>
  async ({ containerId }: GetContainerOwnerRequest): Promise<GetContainerOwnerResponse> => {
    const owner = isId('ta', containerId) && (await findLiveOwner(db, containerId));
    if (!owner) {
      throw new BerthError('not_found', 'No such container lives: check container_id.', {
        field: 'container_id',
      });
    }
    return owner;
  };
