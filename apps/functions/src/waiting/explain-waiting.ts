import { ContainerState, ListContainersRequest } from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { explainImageOfCall } from '../domain/image-waiting';
import { mapState } from '../domain/map';
import { explain, explainRetry } from '../domain/waiting';
import { countAhead, findFirstPending, isMap, type CallView, type MapView } from '../store/call-store';
import { findImageOfVersion } from '../store/image-store';
import { findWaitingRetry } from '../store/retry-store';

const ANSWER_WITHIN_MS = 1000;

/** Why a pending call waits, and what would start it; undefined for one that does not wait. */
export async function explainWaiting(
  { db, scheduler }: Pick<Context, 'db' | 'scheduler'>,
  call: CallView | MapView,
): Promise<string | undefined> {
  if ((isMap(call) ? mapState(call) : call.state) !== 'pending') return undefined;
  if (isMap(call) && call.num_inputs === 0) return 'It has no inputs yet: put some, or close it.';
  const inputId = isMap(call) ? await findFirstPending(db, call.call_id) : call.input_id;
  if (!inputId) return undefined; // It has begun since.
  const retry = await findWaitingRetry(db, inputId);
  if (retry) return explainRetry(retry.due_at, retry.failures, retry.retries, retry.last_error);
  const image = await findImageOfVersion(db, call.function_id, call.version);
  const building = image && explainImageOfCall(image);
  if (building) return building;
  const ahead = await countAhead(db, { ...call, input_id: inputId });
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
