/**
 * An input on its way to a container: what `functions` publishes to BERTH_INPUTS and a runner consumes.
 *
 * The body is the payload itself, never parsed on the way. A payload above REFERENCE_BYTES stays in Postgres, and the
 * message says so: the runner asks `functions.GetInputPayload`.
 */
import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node';
import { AckPolicy, DeliverPolicy, type ConsumerConfig } from '@nats-io/jetstream';

/** Payloads larger than this are sent by reference. JetStream takes messages up to 1 MiB by default. Bytes. */
export const REFERENCE_BYTES = 512 * 1024;

export interface InputMessage {
  inputId: string;
  callId: string;
  functionId: string;
  version: number;
  /** The fence: an outcome counts only under the attempt that is open. */
  attempt: number;
  /** What the payload is: `json` for `{"args":[…],"kwargs":{…}}`. */
  format: string;
  /** When `functions` accepted the call; milliseconds since 1970. */
  acceptedAt: number;
  /** W3C trace context of the caller; empty when nothing is traced. */
  traceparent: string;
  /** Undefined: fetch it with GetInputPayload. */
  payload: Uint8Array | undefined;
  /** The tree of sync that holds the payload, which is empty here: its container fetches it. */
  blob?: string | undefined;
}

/** Where an input is published. */
export const inputSubject = (functionId: string, version: number, inputId: string): string =>
  `berth.inputs.${functionId}.${version}.${inputId}`;

/** The part of a JetStream or core message that is read here. */
export interface ReceivedMessage {
  subject: string;
  headers?: MsgHdrs | undefined;
  data: Uint8Array;
}

export function encodeInput(input: InputMessage): { subject: string; headers: MsgHdrs; data: Uint8Array } {
  const headers = natsHeaders();
  headers.set('Berth-Input', input.inputId);
  headers.set('Berth-Call', input.callId);
  headers.set('Berth-Attempt', String(input.attempt));
  headers.set('Berth-Format', input.format);
  headers.set('Berth-Accepted-At', String(input.acceptedAt));
  if (input.traceparent) headers.set('traceparent', input.traceparent);
  if (input.blob) headers.set('Berth-Blob', input.blob);
  else if (!input.payload) headers.set('Berth-Payload', 'reference');
  return {
    subject: inputSubject(input.functionId, input.version, input.inputId),
    headers,
    data: input.payload ?? new Uint8Array(),
  };
}

/** Undefined for a message that is not an input: nobody but `functions` should publish there; acknowledge and drop it. */
export function decodeInput({ subject, headers, data }: ReceivedMessage): InputMessage | undefined {
  const [, , functionId, version, inputId] = subject.split('.');
  const attempt = Number(headers?.get('Berth-Attempt'));
  if (!headers || !functionId || !inputId || inputId !== headers.get('Berth-Input')) return undefined;
  if (!Number.isInteger(attempt) || attempt < 1) return undefined;
  return {
    inputId,
    callId: headers.get('Berth-Call'),
    functionId,
    version: Number(version),
    attempt,
    format: headers.get('Berth-Format'),
    acceptedAt: Number(headers.get('Berth-Accepted-At')),
    traceparent: headers.get('traceparent'),
    payload: headers.get('Berth-Payload') === 'reference' ? undefined : data,
    blob: headers.get('Berth-Blob') || undefined,
  };
}

/** Milliseconds after which an input that its runner neither acknowledged nor reported `working` is offered again. */
export const INPUT_ACK_WAIT_MS = 15_000;

/** The name of the durable consumer that all runners of one function version share. */
export const inputConsumerName = (functionId: string, version: number): string => `${functionId}-${version}`;

/** That consumer: add it before reading (adding it again changes nothing). `functions` deletes it with the version. */
export const inputConsumer = (functionId: string, version: number): Partial<ConsumerConfig> => ({
  durable_name: inputConsumerName(functionId, version),
  filter_subject: `berth.inputs.${functionId}.${version}.>`,
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.All,
  ack_wait: INPUT_ACK_WAIT_MS * 1e6,
  // Slots are the runners' to count; the queue itself holds nothing back.
  max_ack_pending: 100_000,
});
