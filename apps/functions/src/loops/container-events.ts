import {
  ContainerState,
  ListContainersRequest,
  type Container,
} from '@berth/contracts/scheduler/v1/scheduler';
import { consume, CONTAINER_EVENTS, decodeContainerEvent, type Consumption } from '@berth/events';
import type { Context } from '../context';
import { isUsersFault, type InputError } from '../domain/outcome';
import { FAILURES_MAX } from '../domain/pool';
import { failPending, reclaimContainer } from '../store/input-store';
import { clearFailures, countFailure, type PoolKey } from '../store/pool-store';

type Parts = Pick<Context, 'db' | 'bus' | 'relay' | 'log' | 'scheduler' | 'waiting' | 'autoscaler'>;

/** Hears what becomes of containers: one that ended is replaced where it is needed, and what ran in a lost one runs anew. */
export const consumeContainerEvents = (parts: Parts): Promise<Consumption> =>
  consume(
    parts.bus,
    {
      stream: 'BERTH_EVENTS',
      durable: 'functions-containers',
      filter: CONTAINER_EVENTS,
      handle: ({ data }) => handleContainer(parts, decodeContainerEvent(data)),
    },
    parts.log,
  );

/** May see one event more than once: each step changes nothing the second time, but for a count of failures. */
async function handleContainer(parts: Parts, container: Container): Promise<void> {
  const { functionId, version } = container;
  // A workspace's machine, or a shell's container: no pool has it.
  if (!functionId || version === 0) return;
  const key = { functionId, version };
  switch (container.state) {
    case ContainerState.CONTAINER_STATE_READY:
      await clearFailures(parts.db, key);
      return;
    case ContainerState.CONTAINER_STATE_FAILED:
      if (!container.readyAt) await handleFailedStart(parts, key, container);
      break;
    case ContainerState.CONTAINER_STATE_LOST:
      await reclaim(parts, container.containerId);
      break;
    case ContainerState.CONTAINER_STATE_STOPPED:
      break;
    default:
      return;
  }
  parts.autoscaler.containerEnded(functionId, version, container.containerId);
}

/**
 * A container that failed before it was ready. Where what it loads is to blame, what waits gets that error at once,
 * unless other containers of the version do run; else the pool rests a while, and gives up after several failures.
 */
async function handleFailedStart(parts: Parts, key: PoolKey, container: Container): Promise<void> {
  const { db, waiting, autoscaler } = parts;
  const error: InputError = container.error ?? {
    type: 'infrastructure',
    message: container.reason ?? 'The container failed before it was ready.',
  };
  const users = isUsersFault(error);
  const failures = await countFailure(db, key, users);
  const hopeless = users || failures >= FAILURES_MAX;
  if (!hopeless || (await hasReadyContainer(parts, key))) return;
  for await (const failed of failPending(db, key.functionId, key.version, error)) {
    waiting.announce(failed);
    autoscaler.ended(failed);
  }
}

async function hasReadyContainer({ scheduler }: Parts, { functionId, version }: PoolKey): Promise<boolean> {
  const { data } = await scheduler.listContainers(
    ListContainersRequest.fromPartial({ functionId, limit: 100 }),
  );
  return data.some((each) => each.version === version && each.state === ContainerState.CONTAINER_STATE_READY);
}

/** Gives what ran in a container that is gone to other containers, under new attempts. */
export async function reclaim(
  { db, relay, waiting, autoscaler, log }: Pick<Parts, 'db' | 'relay' | 'waiting' | 'autoscaler' | 'log'>,
  containerId: string,
): Promise<void> {
  const { outbox, failed } = await db.transact((tx) => reclaimContainer(tx, containerId));
  waiting.announce(failed);
  autoscaler.ended(failed);
  if (outbox.length === 0) return;
  log.info({ containerId, inputs: outbox.length }, 'a container is gone: what ran in it runs anew');
  await relay
    .publish(outbox)
    .catch((error: unknown) => log.warn({ err: error }, 'inputs wait in the outbox'));
}
