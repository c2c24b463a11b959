import { BerthError } from '@berth/service-kit';

/** What a runner gets that speaks for a node which is unknown, down, or by now another incarnation's. */
export const registerAgain = () =>
  new BerthError('precondition', 'This node is unknown, down, or was registered anew: register it again.', {
    field: 'node_id',
  });
