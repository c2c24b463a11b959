import type { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import type { ClientOf } from '@berth/service-kit';
import { untilAnswered } from '../files/until-answered';

/** Asks for the values of secrets. They are kept nowhere: each container asks anew, and so has the newest ones. */
export interface Secrets {
  /**
   * The variables of the secrets that a container's spec names, but for those that the function sets itself.
   * Errors: `not_found` with what is missing; `unavailable` when nobody answers for half a minute.
   */
  of(spec: ContainerSpec): Promise<Record<string, string>>;
}

export function openSecrets(client: Pick<ClientOf<typeof SecretServiceService>, 'openSecrets'>): Secrets {
  return {
    async of({ workspaceId, environment, secrets: names, env: own }) {
      if (names.length === 0) return {};
      const { env } = await untilAnswered(() => client.openSecrets({ workspaceId, environment, names }));
      return Object.fromEntries(Object.entries(env).filter(([name]) => !(name in own)));
    },
  };
}
