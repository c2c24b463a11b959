import { AckPolicy, DeliverPolicy, type ConsumerMessages, type JsMsg } from '@nats-io/jetstream';
import { extractTrace, SpanKind, traced, type Logger } from '@berth/service-kit';
import type { Bus } from './nats';

export interface Subscription {
  stream: 'BERTH_EVENTS' | 'BERTH_ASSIGNMENTS';
  /** Shared by the replicas of one service, so that each event reaches one of them. */
  durable: string;
  filter: string;
  /** Handles one event; may see it more than once. A throw gives it back, to come again after a second. */
  handle(event: { subject: string; json: () => unknown; data: Uint8Array }): Promise<void>;
  /** Events handled at a time; default 16. */
  concurrency?: number;
}

export interface Consumption {
  /** Resolves when what was being handled is done. */
  stop(): Promise<void>;
}

const RETRY_MS = 1000;

/** Reads a durable consumer until stopped. An event is a hint: the handler re-reads its own truth. */
export async function consume(bus: Bus, subscription: Subscription, log: Logger): Promise<Consumption> {
  const { stream, durable, filter, handle, concurrency = 16 } = subscription;
  await bus.manager.consumers.add(stream, {
    durable_name: durable,
    filter_subject: filter,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: 30e9,
    max_ack_pending: concurrency * 4,
  });
  const consumer = await bus.jetstream.consumers.get(stream, durable);
  const messages: ConsumerMessages = await consumer.consume({ max_messages: concurrency });
  const inFlight = new Set<Promise<void>>();

  const handleOne = async (message: JsMsg) => {
    const traceparent = message.headers?.get('traceparent');
    try {
      await traced(
        `${durable} ${message.subject.split('.').slice(0, 4).join('.')}`,
        { kind: SpanKind.CONSUMER, ...(traceparent ? { parent: extractTrace({ traceparent }) } : {}) },
        () => handle({ subject: message.subject, json: () => message.json(), data: message.data }),
      );
      message.ack();
    } catch (error) {
      log.warn({ err: error, subject: message.subject, durable }, 'an event was not handled: it comes again');
      message.nak(RETRY_MS);
    }
  };

  const reading = (async () => {
    for await (const message of messages) {
      const work = handleOne(message).finally(() => inFlight.delete(work));
      inFlight.add(work);
      if (inFlight.size >= concurrency) await Promise.race(inFlight);
    }
  })();

  return {
    async stop() {
      messages.stop();
      await reading;
      await Promise.all(inFlight);
    },
  };
}
