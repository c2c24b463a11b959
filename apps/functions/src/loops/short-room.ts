import { decodeShortRoom, SHORT_ROOM } from '@berth/events';
import type { Context } from '../context';

/**
 * Hears from the scheduler that containers wait for room, and lets idle ones make it. One replica hears each word; one
 * that is lost is said again while it is true. Returns how to stop.
 */
export function hearOfShortRoom({
  bus,
  autoscaler,
  log,
}: Pick<Context, 'bus' | 'autoscaler' | 'log'>): () => void {
  const subscription = bus.nats.subscribe(SHORT_ROOM, {
    queue: 'functions',
    callback: (_, message) => {
      autoscaler
        .yieldIdle(decodeShortRoom(message.data))
        .catch((error: unknown) =>
          log.warn({ err: error }, 'idle containers were not looked for: it is said again'),
        );
    },
  });
  return () => subscription.unsubscribe();
}
