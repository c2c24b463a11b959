import type { UsageInterval } from '@berth/contracts/billing/v1/billing';
import { consume, decodeUsageEvent, USAGE_EVENTS, type Consumption } from '@berth/events';
import { Counter, type Logger } from '@berth/service-kit';
import type { Context } from '../context';
import { faultOf, type Interval } from '../domain/interval';
import { createUsageWriter, type UsageWriter } from './usage-writer';

/** Events in hand at a time: as many may share one statement. */
const CONCURRENCY = 64;
/** How much of an event that cannot be read the log keeps. */
const LOGGED_BYTES_MAX = 4096;

const intervals = new Counter({
  name: 'berth_billing_intervals_total',
  help: 'Usage intervals heard of, by what became of them: stored, repeated, conflicting, malformed.',
  labelNames: ['outcome'] as const,
});

/** Stores what runners say they used. An event is acknowledged when its row is committed, and not before. */
export function consumeUsage({ db, bus, log }: Context): Promise<Consumption> {
  const writer = createUsageWriter(db);
  return consume(
    bus,
    {
      stream: 'BERTH_EVENTS',
      durable: 'billing-usage',
      filter: USAGE_EVENTS,
      handle: ({ data }) => storeInterval(writer, log, data),
      concurrency: CONCURRENCY,
    },
    log,
  );
}

/** What cannot be believed is logged whole and left out: it would come back for ever otherwise. */
async function storeInterval(writer: UsageWriter, log: Logger, data: Uint8Array): Promise<void> {
  const interval = readInterval(data);
  const fault = interval ? faultOf(interval, Date.now()) : 'it is not an interval';
  if (!interval || fault) {
    intervals.inc({ outcome: 'malformed' });
    const bytes = Buffer.from(data).toString('base64', 0, LOGGED_BYTES_MAX);
    log.error({ interval, fault, bytes }, 'a usage interval was refused');
    return;
  }
  const outcome = await writer.write(interval);
  intervals.inc({ outcome: outcome.is });
  if (outcome.is === 'conflicting') {
    const { earlier } = outcome;
    log.error({ interval, earlier }, 'a usage interval came twice, and differs: the first one stays');
  }
}

function readInterval(data: Uint8Array): Interval | undefined {
  try {
    return fromMessage(decodeUsageEvent(data));
  } catch {
    return undefined;
  }
}

const fromMessage = (message: UsageInterval): Interval => ({
  container_id: message.containerId,
  sequence: message.sequence,
  organization_id: message.organizationId,
  workspace_id: message.workspaceId,
  app_id: message.appId,
  function_id: message.functionId,
  node_id: message.nodeId,
  started_at: message.startedAt ?? new Date(Number.NaN),
  ended_at: message.endedAt ?? new Date(Number.NaN),
  millicores: Math.round(message.cpu * 1000),
  memory: message.memory,
  gpu: message.gpu,
  last: message.last,
});
