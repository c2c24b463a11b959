import { injectTrace, type CallContext } from '@berth/service-kit';
import type { OutboxRow } from '@berth/events';
import type { Context } from '../context';
import { composePayload, type GivenArguments } from '../domain/payload';
import type { NewInput } from '../store/map-store';

/** The inputs of a request as they are kept. Errors: as `composePayload`, with the input at fault. */
export const composeInputs = (inputs: readonly (GivenArguments & { index?: number })[]): NewInput[] =>
  inputs.map(({ index, ...given }, place) => ({
    index: index ?? place,
    ...composePayload(given, `inputs[${place}].`),
  }));

/** What a field of one of several inputs is called in a request. */
export const fieldOfInput = (place: number, name: string): string => `inputs[${place}].${name}`;

/** Where they come from, and when. */
export const originOf = (call: CallContext) => ({
  traceparent: injectTrace().traceparent ?? call.traceparent ?? '',
  acceptedAt: new Date(),
});

/** Messages that are on their way to the queue at a time: those of other calls go between. */
const PUBLISHED_MAX = 200;

/** Sends the messages of inputs on their way, and asks for containers for them. */
export function sendInputs(
  { relay, autoscaler, log }: Pick<Context, 'relay' | 'autoscaler' | 'log'>,
  call: { id: string; function_id: string; version: number },
  outbox: readonly OutboxRow[],
): void {
  if (outbox.length === 0) return;
  autoscaler.accepted(call.function_id, call.version, outbox.length);
  const publish = async () => {
    for (let from = 0; from < outbox.length; from += PUBLISHED_MAX) {
      await relay.publish(outbox.slice(from, from + PUBLISHED_MAX));
    }
  };
  publish().catch((error: unknown) => log.warn({ err: error, callId: call.id }, 'inputs wait in the outbox'));
}
