/** A stream of bytes as an HTTP body: what a server-streaming method answers whose response body is a raw field. */
import { Readable } from 'node:stream';
import { fieldIs } from '@berth/contracts';
import { BerthError } from '@berth/service-kit';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fieldBytes } from '../codec/to-json';
import { publicError } from '../peers/peers';
import { peerRequest } from '../forward';
import type { PublicMethod } from '../public-methods';
import { compileBind } from './bind';
import { callerOf, restRequest, type RestContext } from './rest-routes';

/** The number of the field whose bytes are the body; undefined for a method that streams documents. */
export function rawFieldOf({ descriptor, route }: PublicMethod): number | undefined {
  const field = descriptor.output.fields.find(({ name }) => name === route.responseBody);
  return field && fieldIs(field, 'raw') ? field.number : undefined;
}

/**
 * An error before the first byte is an answer of its own. One that comes later cuts the connection in the middle of the
 * body, which no client takes for its end.
 */
export function rawStreamRoute(method: PublicMethod, fieldNumber: number, context: RestContext) {
  const bind = compileBind(method);
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const message = bind(restRequest(request));
    const abort = new AbortController();
    const call = await context.peers.stream(
      peerRequest(method, callerOf(request, abort.signal), message, context.sessions),
    );
    context.waiting.add(abort);
    abort.signal.addEventListener('abort', () => call.cancel(), { once: true });
    reply.raw.once('close', () => {
      context.waiting.delete(abort);
      call.cancel();
    });
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const shown = (error: unknown) =>
      abort.signal.aborted ? (abort.signal.reason as BerthError) : publicError(error, method.peer);
    let next = await messages.next().catch((error: unknown) => {
      throw shown(error);
    });
    const bytes = async function* () {
      for (; !next.done; next = await messages.next()) {
        const part = fieldBytes(next.value, fieldNumber);
        if (part) yield part;
      }
    };
    const body = Readable.from(bytes(), { objectMode: false });
    body.once('error', (error) => {
      if (!reply.raw.destroyed)
        context.log.warn({ err: shown(error), requestId: request.id }, 'a body was cut off');
      reply.raw.destroy();
    });
    return reply.code(method.httpStatus).type('application/octet-stream').send(body);
  };
}
