import { ContainerState, ListContainersRequest } from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { explain, explainRetry } from '../domain/waiting';
import { findWaitingRetry } from '../store/retry-store';
import { countAhead, type CallView } from '../store/call-store';

const ANSWER_WITHIN_MS = 1000;

/** Why a pending call waits, and what would start it; undefined for one that does not wait. */
export async function explainWaiting(
  { db, scheduler }: Pick<Context, 'db' | 'scheduler'>,
  call: CallView,
): Promise<string | undefined> {
  if (call.state !== 'pending') return undefined;
  const retry = await findWaitingRetry(db, call.input_id);
  if (retry) return explainRetry(retry.due_at, retry.failures, retry.retries, retry.last_error);
  const ahead = await countAhead(db, call);
  const answer = await scheduler
    .listContainers(ListContainersRequest.fromPartial({ functionId: call.function_id, limit: 100 }), {
      timeoutMs: ANSWER_WITHIN_MS,
    })
    .catch(() => undefined);
  const containers = answer?.data.filter(({ version }) => version === call.version);
  return explain({
    ahead,
    containers: containers?.map(({ state, reason }) => ({
      stage:
        state === ContainerState.CONTAINER_STATE_PENDING
          ? 'unplaced'
          : state === ContainerState.CONTAINER_STATE_READY
            ? 'ready'
            : 'starting',
      reason,
    })),
  });
}
