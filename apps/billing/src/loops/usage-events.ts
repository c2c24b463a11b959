import type { UsageInterval } from '@berth/contracts/billing/v1/billing';
import { consume, decodeUsageEvent, USAGE_EVENTS, type Consumption } from '@berth/events';
import { Counter, type Logger } from '@berth/service-kit';
import type { Database } from '@berth/database';
import type { Context } from '../context';
import { faultOf, isSame, type Interval } from '../domain/interval';
import { findInterval, insertInterval } from '../store/usage-store';

const intervals = new Counter({
  name: 'berth_billing_intervals_total',
  help: 'Usage intervals heard of, by what became of them: stored, repeated, conflicting, malformed.',
  labelNames: ['outcome'] as const,
});

/** Stores what runners say they used. An event is acknowledged when its row is committed, and not before. */
export const consumeUsage = ({ db, bus, log }: Context): Promise<Consumption> =>
  consume(
    bus,
    {
      stream: 'BERTH_EVENTS',
      durable: 'billing-usage',
      filter: USAGE_EVENTS,
      handle: ({ data }) => storeInterval(db, log, data),
    },
    log,
  );

/** What cannot be believed is logged and left out: it would come back for ever otherwise. */
async function storeInterval(db: Database, log: Logger, data: Uint8Array): Promise<void> {
  const interval = readInterval(data);
  const fault = interval ? faultOf(interval, Date.now()) : 'it is not an interval';
  if (!interval || fault) {
    intervals.inc({ outcome: 'malformed' });
    log.error({ interval, fault }, 'a usage interval was refused');
    return;
  }
  if (await insertInterval(db, interval)) {
    intervals.inc({ outcome: 'stored' });
    return;
  }
  const earlier = await findInterval(db, interval.container_id, interval.sequence);
  const same = earlier !== undefined && isSame(earlier, interval);
  intervals.inc({ outcome: same ? 'repeated' : 'conflicting' });
  if (!same)
    log.error({ interval, earlier }, 'a usage interval came twice, and differs: the first one stays');
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
