/** What became of a container: said by `scheduler`, which records it. */
import { Container, ContainerState } from '@berth/contracts/scheduler/v1/scheduler';

/** How a state is spelled in a subject. */
const STATE_NAMES: Partial<Record<ContainerState, string>> = {
  [ContainerState.CONTAINER_STATE_PENDING]: 'pending',
  [ContainerState.CONTAINER_STATE_ASSIGNED]: 'assigned',
  [ContainerState.CONTAINER_STATE_STARTING]: 'starting',
  [ContainerState.CONTAINER_STATE_READY]: 'ready',
  [ContainerState.CONTAINER_STATE_STOPPING]: 'stopping',
  [ContainerState.CONTAINER_STATE_STOPPED]: 'stopped',
  [ContainerState.CONTAINER_STATE_FAILED]: 'failed',
  [ContainerState.CONTAINER_STATE_LOST]: 'lost',
};

/** All of them; put a state's name in place of `>` to hear of one. */
export const CONTAINER_EVENTS = 'berth.events.container.v1.>';

/** The subject and body that say a container is in the state that it now has. */
export const encodeContainerEvent = (container: Container): { subject: string; payload: Uint8Array } => ({
  subject: `berth.events.container.v1.${STATE_NAMES[container.state] ?? 'unspecified'}`,
  payload: Container.encode(container).finish(),
});

/** The container as it was when the event was written: a hint, unless the state is final. */
export const decodeContainerEvent = (payload: Uint8Array): Container => Container.decode(payload);
