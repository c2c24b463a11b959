import type Docker from 'dockerode';

import { EngineError } from '../engine';

const NETWORK = 'berth';
const ICC_OPTION = 'com.docker.network.bridge.enable_icc';

/**
 * The id of a bridge whose containers cannot reach each other. Docker's own bridge where `dockerd --icc=false` made
 * it one: joining any other network costs a start 55 ms (220 beside 165, Docker 20.10), the price of that network's
 * name server. Otherwise a network of Berth's own, made once.
 */
export async function ensureNetwork(docker: Docker): Promise<string> {
  const own = await docker.getNetwork('bridge').inspect().catch(ifMissing);
  if (own?.Options?.[ICC_OPTION] === 'false') return 'bridge';

  const existing = await findNetwork(docker);
  if (existing) return existing;
  try {
    const made = await docker.createNetwork({
      Name: NETWORK,
      Driver: 'bridge',
      CheckDuplicate: true,
      Options: { [ICC_OPTION]: 'false' },
    });
    return made.id;
  } catch (error) {
    const winner = await findNetwork(docker); // Another platform on this machine made it meanwhile.
    if (winner) return winner;
    throw error;
  }
}

async function findNetwork(docker: Docker): Promise<string | undefined> {
  const named = await docker.listNetworks({ filters: { name: [NETWORK] } });
  const network = named.filter(({ Name }) => Name === NETWORK).sort((a, b) => (a.Id < b.Id ? -1 : 1))[0];
  if (network && network.Options?.[ICC_OPTION] !== 'false') {
    throw new EngineError(
      'conflict',
      `A Docker network "${NETWORK}" exists in which containers reach each other. Remove it (docker network rm ${NETWORK}); Berth makes its own.`,
    );
  }
  return network?.Id;
}

function ifMissing(error: unknown): undefined {
  if ((error as { statusCode?: number }).statusCode !== 404) throw error;
}
