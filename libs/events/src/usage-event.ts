/** What a container used, from the runner that ran it to `billing`: BERTH_EVENTS. */
import { UsageInterval } from '@berth/contracts/billing/v1/billing';

export const USAGE_EVENTS = 'berth.events.usage.v1.recorded';

/** `messageId` lets JetStream drop a repeat; `(container, sequence)` lets billing do the same for good. */
export const encodeUsageEvent = (interval: UsageInterval) => ({
  subject: USAGE_EVENTS,
  messageId: `usage-${interval.containerId}-${interval.sequence}`,
  payload: UsageInterval.encode(interval).finish(),
});

/** Throws for bytes that are not an interval. */
export const decodeUsageEvent = (payload: Uint8Array): UsageInterval => UsageInterval.decode(payload);
