import type { IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { BerthError, type ClientOf } from '@berth/service-kit';

export type TokenIssuer = Pick<ClientOf<typeof IdentityServiceService>, 'issueContainerToken'>;

/** Not used in its last moments: it has to arrive as well. */
const MARGIN_MS = 10_000;

/**
 * The token of one container's run. It is asked for when the container first needs it, since most never do, and again
 * before it ends. It never enters the container.
 */
export class ContainerToken {
  #held: { token: string; usableUntil: number } | undefined;
  #asking: Promise<string> | undefined;

  constructor(
    private readonly identity: TokenIssuer,
    private readonly containerId: string,
  ) {}

  /** Errors: `unauthenticated` where the container has ended; `unavailable` where identity does not answer. */
  async get(): Promise<string> {
    if (this.#held && Date.now() < this.#held.usableUntil) return this.#held.token;
    return (this.#asking ??= this.#ask().finally(() => (this.#asking = undefined)));
  }

  /** It was refused: the next request asks anew. */
  forget(): void {
    this.#held = undefined;
  }

  async #ask(): Promise<string> {
    try {
      const { token, expiresAt } = await this.identity.issueContainerToken({ containerId: this.containerId });
      this.#held = { token, usableUntil: expiresAt!.getTime() - MARGIN_MS };
      return token;
    } catch (cause) {
      if (cause instanceof BerthError && cause.kind === 'not_found') {
        throw new BerthError('unauthenticated', 'This container has ended: it may call nothing any more.', {
          cause,
        });
      }
      throw new BerthError('unavailable', 'Berth cannot say who this container is: try again in a moment.', {
        cause,
      });
    }
  }
}
