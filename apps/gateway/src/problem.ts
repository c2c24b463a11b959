import { BerthError, ERROR_KINDS, type ErrorKind } from '@berth/service-kit';

/** An error that only HTTP knows: its status is not its kind's own. */
export class HttpProblem extends BerthError {
  constructor(
    kind: ErrorKind,
    message: string,
    readonly status: number,
    readonly headers: Record<string, string> = {},
  ) {
    super(kind, message);
  }
}

export const statusOf = (error: BerthError): number =>
  error instanceof HttpProblem ? error.status : ERROR_KINDS[error.kind].http;
