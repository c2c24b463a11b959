import { BerthError } from '@berth/service-kit';
import { WISH_CONTAINERS_MAX } from './limits';
import type { ContainerState } from './container-state';

/** A container that counts towards its wish: pending, assigned, starting or ready. */
export interface Counted {
  id: string;
  state: ContainerState;
}

export interface Difference {
  missing: number;
  /** Without a place: they end directly. */
  cancel: string[];
  /** With one: their nodes are told. */
  stop: string[];
}

/**
 * What has to happen for `wanted` of the `counted` to be there. Surplus ends where it hurts least: those that wait, then
 * those not yet ready, then the `idle` in their order, then the youngest.
 */
export function difference(counted: readonly Counted[], wanted: number, idle: readonly string[]): Difference {
  const idleAt = new Map(idle.map((id, at) => [id, at]));
  const rank = ({ id, state }: Counted) => {
    if (state === 'pending') return 0;
    if (state !== 'ready') return 1;
    return idleAt.has(id) ? 2 : 3;
  };
  const order = (a: Counted, b: Counted) =>
    rank(a) - rank(b) ||
    (rank(a) === 2 ? idleAt.get(a.id)! - idleAt.get(b.id)! : 0) ||
    (a.id < b.id ? 1 : -1); // Ids sort by time: the youngest has done the least.

  const surplus = [...counted].sort(order).slice(0, Math.max(0, counted.length - wanted));
  return {
    missing: Math.max(0, wanted - counted.length),
    cancel: surplus.filter(({ state }) => state === 'pending').map(({ id }) => id),
    stop: surplus.filter(({ state }) => state !== 'pending').map(({ id }) => id),
  };
}

const REVISION_MAX = 2n ** 63n - 1n; // What Postgres' bigint holds.

/** Errors: `invalid` with the field at fault. */
export function checkWish(wish: { owner: string; containers: number; revision: bigint }): void {
  const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });
  if (!/^[\x21-\x7e]{1,200}$/.test(wish.owner)) {
    throw refuse('owner', 'must be 1 to 200 visible ASCII characters, as <function_id>/<version> is');
  }
  if (wish.containers < 0 || wish.containers > WISH_CONTAINERS_MAX) {
    throw refuse('containers', `must be from 0 to ${WISH_CONTAINERS_MAX}`);
  }
  if (wish.revision > REVISION_MAX) throw refuse('revision', `must be at most ${REVISION_MAX}`);
}
