import { connect, type NatsConnection } from '@nats-io/transport-node';
import {
  DiscardPolicy,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamClient,
  type JetStreamManager,
} from '@nats-io/jetstream';

export type { JetStreamClient, JetStreamManager, NatsConnection };

const DAY_NANOS = 24 * 3600 * 1e9;
const GIB = 1024 ** 3;

/** The streams of the platform. What each carries: docs/guides/architecture.md. */
const STREAMS = [
  { name: 'BERTH_INPUTS', subjects: ['berth.inputs.>'], retention: RetentionPolicy.Workqueue },
  { name: 'BERTH_ASSIGNMENTS', subjects: ['berth.assignments.>'], retention: RetentionPolicy.Workqueue },
  {
    name: 'BERTH_EVENTS',
    subjects: ['berth.events.>'],
    retention: RetentionPolicy.Limits,
    max_age: 7 * DAY_NANOS,
  },
  {
    name: 'BERTH_LOGS',
    subjects: ['berth.logs.>'],
    retention: RetentionPolicy.Limits,
    max_age: 7 * DAY_NANOS,
    max_bytes: GIB,
    discard: DiscardPolicy.Old,
  },
] as const;

export interface Bus extends AsyncDisposable {
  nats: NatsConnection;
  jetstream: JetStreamClient;
  manager: JetStreamManager;
}

/** Connects, for good: a lost connection is made again for as long as it takes. Makes the streams that are missing. */
export async function openBus(url: string, name: string): Promise<Bus> {
  const { username, password, host } = new URL(url);
  const nats = await connect({
    servers: host,
    name,
    ...(password ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) } : {}),
    ...(username && !password ? { token: decodeURIComponent(username) } : {}),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    waitOnFirstConnect: true,
    ignoreAuthErrorAbort: true,
    // An error object made beside every request, for a stack that only a failure would show, costs 40 µs a call.
    noAsyncTraces: true,
  });
  const manager = await jetstreamManager(nats, { checkAPI: false });
  for (const stream of STREAMS) {
    await manager.streams.add({
      storage: StorageType.File,
      num_replicas: 1,
      ...stream,
      subjects: [...stream.subjects],
    });
  }
  return { nats, manager, jetstream: jetstream(nats), [Symbol.asyncDispose]: () => nats.close() };
}
