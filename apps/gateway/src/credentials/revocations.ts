import { CONTAINER_EVENTS, decodeContainerEvent, openBus, type Bus } from '@berth/events';
import type { Logger } from '@berth/service-kit';
import { z } from 'zod';
import type { ContainerTokens } from './container-tokens';
import type { Forgetful } from './sessions';

const SUBJECT = 'berth.events.credential.v1.revoked';
const ENDINGS = ['stopped', 'failed', 'lost'].map((state) => CONTAINER_EVENTS.replace('>', state));
const Revoked = z.object({ credential_id: z.string().min(1) });

/**
 * Hears revocations. A plain subscription and no durable one: each gateway needs each event, and what it missed while
 * it was away it makes up for by forgetting everything.
 */
export async function hearRevocations(
  natsUrl: string,
  caches: readonly Forgetful[],
  open: Pick<Forgetful, 'revoke'>,
  containerTokens: ContainerTokens,
  log: Logger,
): Promise<Bus> {
  const bus = await openBus(natsUrl, 'gateway');
  bus.nats.subscribe(SUBJECT, {
    callback(error, message) {
      try {
        if (error) throw error;
        const { credential_id } = Revoked.parse(message.json());
        for (const each of [...caches, open]) each.revoke(credential_id);
      } catch (cause) {
        // An event that names nobody could mean anybody.
        log.warn({ err: cause }, 'a revocation could not be read: all sessions are asked for again');
        for (const cache of caches) cache.clear();
      }
    },
  });
  for (const subject of ENDINGS) {
    bus.nats.subscribe(subject, {
      callback(error, message) {
        try {
          if (error) throw error;
          const { containerId } = decodeContainerEvent(message.data);
          if (containerTokens.end(containerId)) for (const cache of caches) cache.revoke(containerId);
        } catch (cause) {
          // Made up for by the token's own end, a minute later at most.
          log.warn({ err: cause }, 'the end of a container could not be read');
        }
      },
    });
  }
  await bus.nats.flush();

  void (async () => {
    for await (const { type } of bus.nats.status()) {
      for (const cache of caches) {
        if (type === 'disconnect') cache.setHearing(false);
        if (type === 'reconnect') {
          cache.clear();
          cache.setHearing(true);
        }
      }
    }
  })().catch((error: unknown) => {
    log.error({ err: error }, 'the state of the NATS connection is not known any more');
    for (const cache of caches) cache.setHearing(false);
  });
  return bus;
}
