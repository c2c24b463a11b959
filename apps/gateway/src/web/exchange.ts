import type { AttachSessionRequest, AttachSessionResponse } from '@berth/contracts/gateway/v1/web';
import type { BerthError } from '@berth/service-kit';

/** What a client says, and what an app answers: as the contract spells it. */
export type FromClient = NonNullable<AttachSessionResponse['message']>;
export type FromApp = NonNullable<AttachSessionRequest['message']>;

/** The client's end of one web request, whatever its connection becomes. */
export interface Exchange {
  /** The next thing that the client says; undefined when it has said all. One at a time. */
  read(): Promise<FromClient | undefined>;
  /** Takes the next piece of the response; resolves when the client has room for more. Throws BadResponse. */
  write(piece: FromApp): Promise<void>;
  /** There is no response, or no more of it. Whatever of it is out is cut off so that the client can tell. */
  fail(error: BerthError): void;
  /** Some of the response is out. */
  readonly begun: boolean;
  /** All of it is. */
  readonly complete: boolean;
  /** Aborted when the client goes away before that. */
  readonly gone: AbortSignal;
}
