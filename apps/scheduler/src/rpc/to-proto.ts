import {
  ContainerSpec,
  ContainerState as ContainerStateMessage,
  NodeState as NodeStateMessage,
  type Assignment,
  type Container as ContainerMessage,
  type Device as DeviceMessage,
  type Node as NodeMessage,
} from '@berth/contracts/scheduler/v1/scheduler';
import type { UserPrincipal } from '@berth/service-kit';
import type { ContainerState } from '../domain/container-state';
import { courseOf } from '../domain/phases';
import type { AssignmentRow, ContainerView } from '../store/container-store';
import type { NodeState } from '../store/entities';
import type { NodeView } from '../store/node-store';

const CONTAINER_STATES: Record<ContainerState, ContainerStateMessage> = {
  pending: ContainerStateMessage.CONTAINER_STATE_PENDING,
  assigned: ContainerStateMessage.CONTAINER_STATE_ASSIGNED,
  starting: ContainerStateMessage.CONTAINER_STATE_STARTING,
  ready: ContainerStateMessage.CONTAINER_STATE_READY,
  stopping: ContainerStateMessage.CONTAINER_STATE_STOPPING,
  stopped: ContainerStateMessage.CONTAINER_STATE_STOPPED,
  failed: ContainerStateMessage.CONTAINER_STATE_FAILED,
  lost: ContainerStateMessage.CONTAINER_STATE_LOST,
};

const NODE_STATES: Record<NodeState, NodeStateMessage> = {
  ready: NodeStateMessage.NODE_STATE_READY,
  down: NodeStateMessage.NODE_STATE_DOWN,
};

/** What holds a card when it is none of the caller's containers: their ids are not told, and the card is not free. */
export const FOREIGN_HOLDER = 'in use';

const deviceToProto = (device: ContainerView['devices'][number]): DeviceMessage => ({
  deviceId: device.id,
  index: device.index,
  model: device.model,
  memory: device.memory_mib,
  uuid: device.uuid,
  simulated: device.simulated,
  containerId: device.container_id ?? '',
});

export const containerToProto = (view: ContainerView): ContainerMessage => ({
  containerId: view.id,
  workspaceId: view.workspace_id,
  appId: view.app_id,
  functionId: view.function_id,
  version: view.version,
  state: CONTAINER_STATES[view.state],
  nodeId: view.node_id ?? '',
  devices: view.devices.map(deviceToProto),
  createdAt: view.created_at,
  readyAt: view.ready_at ?? undefined,
  endedAt: view.ended_at ?? undefined,
  reason: reasonOf(view),
  phases: courseOf(
    view,
    view.phases.map(({ name, started_at, duration_ms }) => ({
      name,
      startedAt: new Date(started_at),
      durationMs: duration_ms,
    })),
  ),
  error: view.error ? { ...view.error, traceback: view.error.traceback } : undefined,
});

/** The place in line changes with every container before this one, so it is counted when it is asked for. */
const reasonOf = ({ reason, place }: ContainerView): string | undefined => {
  if (place === null) return reason ?? undefined;
  return `${reason ?? 'Waits for its place.'} It is number ${place} in line.`;
};

export const assignmentToProto = (row: AssignmentRow): Assignment => ({
  containerId: row.id,
  spec: ContainerSpec.decode(row.spec),
  devices: row.devices.map(deviceToProto),
  stop: row.state === 'stopping',
  wishedAt: row.created_at,
  placedAt: row.placed_at,
});

export const nodeToProto =
  (user: UserPrincipal) =>
  (view: NodeView): NodeMessage => {
    const ready = view.state === 'ready';
    return {
      nodeId: view.id,
      name: view.name,
      state: NODE_STATES[view.state],
      engine: view.engine,
      cpu: view.millicores / 1000,
      cpuFree: ready ? Math.max(0, view.millicores_free) / 1000 : 0,
      memory: view.memory_mib,
      memoryFree: ready ? Math.max(0, view.memory_mib_free) : 0,
      devices: view.devices.map((device) => {
        const own =
          device.holder_organization_id === user.organizationId &&
          (user.scope === 'organization' || device.holder_workspace_id === user.workspaceId);
        return {
          ...deviceToProto(device),
          ...(device.container_id && !own ? { containerId: FOREIGN_HOLDER } : {}),
        };
      }),
      lastHeartbeatAt: view.last_heartbeat_at,
      containers: view.containers,
    };
  };
