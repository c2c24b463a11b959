import type { SetWishRequest, SetWishResponse } from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { checkWish, difference } from '../domain/wish';
import { placeWaiting } from '../place-waiting';
import { advance, findCounted, insertContainers, viewCounted } from '../store/container-store';
import { lockPlacement } from '../store/placement-store';
import { recordWish } from '../store/wish-store';
import { readSpec } from './from-proto';
import { containerToProto } from './to-proto';

/**
 * Closes the difference between what an owner has and what it wishes for, and places what is new, in one transaction: a
 * call that waits for a cold start waits for one commit here. An older or repeated revision changes nothing.
 */
export const setWish =
  ({ change }: Context) =>
  async (request: SetWishRequest): Promise<SetWishResponse> => {
    checkWish(request);
    const { owner } = request;
    const wanted = readSpec(request.spec);
    const views = await change(async (made) => {
      const { tx, now, say, tell } = made;
      if (await recordWish(tx, request)) {
        await lockPlacement(tx);
        const counted = await findCounted(tx, owner);
        const { missing, cancel, stop } = difference(counted, request.containers, request.idle);
        say(await advance(tx, cancel, 'cancel', { now }));
        tell(await advance(tx, stop, 'stop', { now }));
        if (missing > 0) {
          say(await insertContainers(tx, { ...wanted, owner, count: missing, now }));
          await placeWaiting(made);
        }
      }
      return viewCounted(tx, owner);
    });
    return { containers: views.map(containerToProto) };
  };
