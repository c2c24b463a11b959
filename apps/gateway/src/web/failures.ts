/** What a client is told of a request that has no response. Strangers read it: it says nothing of the code inside. */
import { BerthError } from '@berth/service-kit';
import { HttpProblem } from '../problem';

/** By the type of an input's error; any other is an exception of user code. */
const MESSAGES: Record<string, [status: number, kind: 'timeout' | 'unavailable', message: string]> = {
  timeout: [504, 'timeout', 'The endpoint did not answer within its time.'],
  container_exited: [502, 'unavailable', 'The container that had this request ended.'],
  out_of_memory: [502, 'unavailable', 'The container that had this request ran out of memory.'],
  init_failed: [502, 'unavailable', 'The endpoint could not be started.'],
  infrastructure: [502, 'unavailable', 'The endpoint could not be reached.'],
  bad_response: [502, 'unavailable', 'The endpoint answered what is no HTTP response.'],
  cancelled: [503, 'unavailable', 'The request was ended before it was answered.'],
};

export function failureOf(type: string, cause?: unknown): BerthError {
  const [status, kind, message] = MESSAGES[type] ?? [500, 'unavailable', ''];
  if (message) return Object.assign(new HttpProblem(kind, message, status), cause ? { cause } : {});
  return new BerthError('internal', 'The endpoint failed. Its owner finds the reason in its logs.');
}

export const noEndpoint = () =>
  new BerthError('not_found', 'No web endpoint answers here: check the URL, and that its app is deployed.');

export const needsProxyToken = () =>
  new HttpProblem(
    'unauthenticated',
    'This endpoint needs a proxy token of its workspace: send its id as Modal-Key and its secret as Modal-Secret.',
    401,
  );

/** More is asked of one endpoint than is held for it; come back in a second. */
export const tooMany = () =>
  new HttpProblem('unavailable', 'Too many requests wait for this endpoint: try again in a moment.', 503, {
    'retry-after': '1',
  });

export const stopping = () =>
  new HttpProblem('unavailable', 'Berth restarts: try again in a moment.', 503, { 'retry-after': '1' });
