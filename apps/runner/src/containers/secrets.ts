import type { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, type ClientOf } from '@berth/service-kit';
import { Backoff } from '../files/backoff';

/** Longer than a restart of workspace takes; its supervisor starts it again. */
const TRY_MS = 30_000;

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
      const until = Date.now() + TRY_MS;
      const backoff = new Backoff(100, 1000);
      for (;;) {
        try {
          const { env } = await client.openSecrets({ workspaceId, environment, names });
          return Object.fromEntries(Object.entries(env).filter(([name]) => !(name in own)));
        } catch (error) {
          const mayPass = error instanceof BerthError && ['unavailable', 'timeout'].includes(error.kind);
          if (!mayPass || Date.now() > until) throw error;
          await backoff.wait();
        }
      }
    },
  };
}
