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

/** The one shape of an error over REST. */
export const problemBody = (error: BerthError, requestId: string): string =>
  JSON.stringify({
    error: {
      code: ERROR_KINDS[error.kind].code,
      message: error.message,
      field: error.field ?? null,
      request_id: requestId,
    },
  });
