import {
  ContainerState,
  ContainerSpec,
  type RegisterNodeRequest,
} from '@berth/contracts/scheduler/v1/scheduler';
import { isId } from '@berth/database';
import { BerthError, checkName } from '@berth/service-kit';
import type { ReportedState } from '../domain/container-state';
import { parseGpu } from '../domain/gpu';
import type { NewContainers } from '../store/container-store';
import type { NewDevice } from '../store/node-store';

const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });

/** More than any machine has: cores, and the memory in MiB that an int32 holds, stay in a Postgres integer. */
const CORES_MAX = 1_000_000;

/** What containers of this spec need, and the spec itself as their runner gets it. Errors: `invalid`. */
export function readSpec(spec: ContainerSpec | undefined): Omit<NewContainers, 'count' | 'owner' | 'now'> {
  if (!spec) throw refuse('spec', 'is missing: say what to run');
  const ids = [
    ['or', 'organization_id', spec.organizationId],
    ['wo', 'workspace_id', spec.workspaceId],
    ['ap', 'app_id', spec.appId],
    ['fu', 'function_id', spec.functionId],
  ] as const;
  for (const [prefix, name, id] of ids) {
    if (!isId(prefix, id)) throw refuse(`spec.${name}`, `must be an id that begins with ${prefix}-`);
  }
  if (!(spec.cpu > 0 && spec.cpu <= CORES_MAX)) throw refuse('spec.cpu', 'must be above 0');
  if (spec.memory <= 0) throw refuse('spec.memory', 'must be above 0');
  return {
    organizationId: spec.organizationId,
    workspaceId: spec.workspaceId,
    appId: spec.appId,
    functionId: spec.functionId,
    version: spec.version,
    spec: ContainerSpec.encode(spec).finish(),
    // Up to the next thousandth; 0.1 + 0.2 is 300 of them all the same.
    millicores: Math.ceil(Number((spec.cpu * 1000).toFixed(6))),
    memoryMib: spec.memory,
    gpu: parseGpu(spec.gpu),
  };
}

const ENGINES = ['docker', 'process', 'kubernetes'];

export interface NodeDescription {
  name: string;
  organizationId: string | null;
  millicores: number;
  devices: NewDevice[];
}

/** Errors: `invalid` with the field at fault. */
export function readNode(request: RegisterNodeRequest): NodeDescription {
  if (request.nodeId && !isId('no', request.nodeId))
    throw refuse('node_id', 'must be an id of a node, or empty');
  checkIncarnation(request.incarnation);
  if (request.organizationId && !isId('or', request.organizationId)) {
    throw refuse('organization_id', 'must be the id of an organization, or empty for any');
  }
  if (!ENGINES.includes(request.engine)) throw refuse('engine', `must be one of ${ENGINES.join(', ')}`);
  if (!(request.cpu >= 0.001 && request.cpu <= CORES_MAX)) throw refuse('cpu', 'must be above 0');
  if (request.memory <= 0) throw refuse('memory', 'must be above 0');
  if (new Set(request.devices.map(({ index }) => index)).size < request.devices.length) {
    throw refuse('devices', 'has two cards with one index');
  }
  return {
    name: checkName(request.name, 'name'),
    organizationId: request.organizationId || null,
    millicores: Math.floor(request.cpu * 1000),
    devices: request.devices.map((device) => {
      if (device.index < 0 || device.memory < 0) throw refuse('devices', 'has a number below 0');
      const model = checkName(device.model, 'devices.model');
      return {
        index: device.index,
        model,
        memory_mib: device.memory,
        uuid: device.uuid,
        simulated: device.simulated,
      };
    }),
  };
}

export function checkIncarnation(incarnation: string): void {
  if (/^[\x21-\x7e]{1,200}$/.test(incarnation)) return;
  throw refuse(
    'incarnation',
    'must be 1 to 200 visible ASCII characters, other ones for each start of a runner',
  );
}

const REPORTED: Partial<Record<ContainerState, ReportedState>> = {
  [ContainerState.CONTAINER_STATE_STARTING]: 'starting',
  [ContainerState.CONTAINER_STATE_READY]: 'ready',
  [ContainerState.CONTAINER_STATE_STOPPING]: 'stopping',
  [ContainerState.CONTAINER_STATE_STOPPED]: 'stopped',
  [ContainerState.CONTAINER_STATE_FAILED]: 'failed',
};

/** Errors: `invalid` for a state that is not a runner's to say. */
export function readReportedState(state: ContainerState): ReportedState {
  const reported = REPORTED[state];
  if (reported) return reported;
  throw refuse('state', 'must be starting, ready, stopping, stopped or failed');
}
