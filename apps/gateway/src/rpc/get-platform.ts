import type { GetPlatformRequest, GetPlatformResponse } from '@berth/contracts/gateway/v1/gateway';
import type { Peers } from '../peers/peers';

/** The version, and whether each service answers; at most a second old. */
export const getPlatform =
  (peers: Peers, version: string) =>
  async (_request: GetPlatformRequest): Promise<GetPlatformResponse> => ({
    version,
    services: await peers.health(),
  });
