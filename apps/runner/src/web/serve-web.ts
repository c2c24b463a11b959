/**
 * One web request in one container: the request is taken from the gateway that holds it, handed to the worker as an
 * input, and passed on both ways until the response is out. What is recorded of it is its status and sizes.
 *
 * Nothing is held here but the pieces on their way: each is waited for where it goes before the next is read.
 */
import { Upgrade, type RequestHead } from '@berth/contracts/gateway/v1/web';
import { BerthError, type Logger } from '@berth/service-kit';
import {
  parseSessionMessage,
  ProtocolError,
  SessionLost,
  type Frame,
  type InputOutcome,
  type SessionConnection,
  type SessionRequest,
  type SessionServer,
} from '@berth/worker-protocol';
import { GatewayLine, type ToGateway, type WebReference } from './gateway-line';
import type { Gateways } from './gateways';

export const WEB_FORMAT = 'web';

export interface WebContext {
  gateways: Gateways;
  /** Where the container's worker brings its side of each request. */
  sessions: SessionServer;
  log: Logger;
}

/** What became of the response. */
interface Passed {
  status: number;
  requestBytes: number;
  responseBytes: number;
  isComplete: boolean;
}

/**
 * Serves the request that `payload` names. `run` hands the worker its input. Ends as soon as `signal` aborts, whatever
 * the worker does; `stopWorker` asks it to end for a reason of this request's own.
 */
export async function serveWeb(
  { gateways, sessions, log }: WebContext,
  { attempt, payload }: { attempt: number; payload: Uint8Array },
  run: (payload: Buffer) => Promise<InputOutcome>,
  stopWorker: () => void,
  signal: AbortSignal,
): Promise<InputOutcome> {
  const reference = JSON.parse(Buffer.from(payload).toString()) as WebReference;
  let taken;
  try {
    taken = await GatewayLine.open(gateways, reference, attempt, signal);
  } catch (error) {
    return notTaken(error);
  }
  const { line, head } = taken;
  const expected = sessions.expect();
  const passed: Passed = { status: 0, requestBytes: 0, responseBytes: 0, isComplete: false };
  const outcome = run(Buffer.from(JSON.stringify({ session: expected.token })));
  let session: SessionConnection | undefined;
  const abort = () => {
    session?.close();
    // Its client may be slow, or gone: what it is told waits for nobody.
    if (signal.reason === 'timeout') void line.fail('timeout');
    else line.cancel();
  };
  let lost: BerthError | undefined;
  signal.addEventListener('abort', abort, { once: true });
  try {
    const first = await Promise.race([expected.accepted, outcome]);
    if ('frames' in first) {
      session = first;
      if (signal.aborted) session.close();
      // Nobody reads what the worker says any more when the gateway has left: so it is told.
      const up = passUp(line, session, head, passed).catch((error: unknown) => {
        log.debug({ err: error }, 'a web request lost its client');
        lost = error as BerthError;
        session!.close();
        stopWorker();
      });
      await passDown(session, line, passed);
      session.close();
      void up;
    }
    const said = await outcome;
    if (said.kind === 'lost' || lost || signal.aborted) {
      if (said.kind !== 'lost' && lost) return notAnswered(lost);
      if (signal.reason !== 'timeout') line.cancel();
      return said;
    }
    if (passed.isComplete) await line.end();
    else await line.fail(said.kind === 'failure' ? said.error.type : 'bad_response');
    return said.kind === 'success' ? recorded(said, passed) : said;
  } catch (error) {
    line.cancel();
    stopWorker();
    if (!(error instanceof ProtocolError)) throw error;
    await outcome;
    return failure('result_invalid', `The worker's answer could not be read: ${error.message}.`);
  } finally {
    expected.forget();
    session?.close();
    signal.removeEventListener('abort', abort);
  }
}

const UPGRADES: Partial<Record<Upgrade, SessionRequest['upgrade']>> = {
  [Upgrade.UPGRADE_WEBSOCKET]: 'websocket',
  [Upgrade.UPGRADE_RAW]: 'raw',
};

const requestOf = (head: RequestHead): SessionRequest => ({
  type: 'request',
  method: head.method,
  scheme: head.scheme,
  authority: head.authority,
  root_path: head.rootPath,
  path: head.path,
  query: head.query,
  http_version: head.httpVersion,
  headers: head.headers.map(({ name, value }) => [name, value]),
  client_host: head.clientHost,
  client_port: head.clientPort,
  upgrade: UPGRADES[head.upgrade] ?? 'none',
});

/** From the gateway to the worker, until the gateway says no more. Throws when its line breaks. */
async function passUp(
  line: GatewayLine,
  session: SessionConnection,
  head: RequestHead,
  passed: Passed,
): Promise<void> {
  try {
    await session.send(requestOf(head));
    for (let piece = await line.read(); piece; piece = await line.read()) {
      switch (piece.$case) {
        case 'body':
          passed.requestBytes += piece.value.length;
          await session.send({ type: 'body' }, piece.value);
          break;
        case 'end':
          await session.send({ type: 'end' });
          break;
        case 'socketMessage':
          passed.requestBytes += piece.value.data.length;
          await session.send({ type: 'message', text: piece.value.text }, piece.value.data);
          break;
        case 'socketClose':
          await session.send({ type: 'close', code: piece.value.code, reason: piece.value.reason });
          break;
      }
    }
  } catch (error) {
    // A worker that has said all need not hear all.
    if (!(error instanceof SessionLost)) throw error;
  }
}

/** From the worker to the gateway, until the worker's connection ends. Throws ProtocolError. */
async function passDown(session: SessionConnection, line: GatewayLine, passed: Passed): Promise<void> {
  for await (const frame of session.frames()) {
    const piece = toGateway(frame);
    if (piece.$case === 'head') passed.status = piece.value.status;
    if (piece.$case === 'body') passed.responseBytes += piece.value.length;
    if (piece.$case === 'socketMessage') passed.responseBytes += piece.value.data.length;
    if (piece.$case === 'end' || piece.$case === 'socketClose') passed.isComplete = true;
    await line.write(piece);
  }
  // A WebSocket that its client closed has no last word of the app's.
  if (passed.status === 101) passed.isComplete = true;
}

function toGateway({ header, payload }: Frame): ToGateway {
  const message = parseSessionMessage(header);
  switch (message.type) {
    case 'response':
      return {
        $case: 'head',
        value: {
          status: message.status,
          headers: message.headers.map(([name, value]) => ({ name, value })),
        },
      };
    case 'body':
      return { $case: 'body', value: payload };
    case 'end':
      return { $case: 'end', value: {} };
    case 'message':
      return { $case: 'socketMessage', value: { text: message.text, data: payload } };
    case 'close':
      return { $case: 'socketClose', value: { code: message.code, reason: message.reason } };
  }
}

const failure = (type: string, message: string): InputOutcome => ({
  kind: 'failure',
  error: { type, message, traceback: '' },
  runUs: 0,
});

/** The gateway ended it: its client is gone, or could not be given what the app answered. */
const notAnswered = ({ kind, message }: BerthError): InputOutcome =>
  failure(kind === 'cancelled' || kind === 'not_found' ? 'cancelled' : 'infrastructure', message);

function notTaken(error: unknown): InputOutcome {
  const kind = error instanceof BerthError ? error.kind : undefined;
  if (kind === 'not_found' || kind === 'precondition' || kind === 'cancelled') {
    return failure(
      'cancelled',
      'The client was gone before its request was taken, or had begun and was lost.',
    );
  }
  return failure('infrastructure', 'The gateway that held the request did not answer.');
}

function recorded(
  said: Extract<InputOutcome, { kind: 'success' }>,
  { status, requestBytes, responseBytes }: Passed,
): InputOutcome {
  const result = { status, request_bytes: requestBytes, response_bytes: responseBytes };
  return { ...said, format: 'json', payload: Buffer.from(JSON.stringify(result)) };
}
