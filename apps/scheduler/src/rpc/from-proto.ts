import {
  ContainerState,
  ContainerSpec,
  type RegisterNodeRequest,
  type ReportContainerRequest,
} from '@berth/contracts/scheduler/v1/scheduler';
import type { InvocationError } from '@berth/contracts/functions/v1/functions';
import { isId } from '@berth/database';
import { BerthError, checkName } from '@berth/service-kit';
import type { ReportedState } from '../domain/container-state';
import { parseGpu } from '../domain/gpu';
import { registerAgain } from '../domain/node-standing';
import type { Happening, NewContainers } from '../store/container-store';
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
    millicores: Math.max(1, Math.ceil(Number((spec.cpu * 1000).toFixed(6)))),
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
      if (!/^[\x20-\x7e]{0,200}$/.test(device.uuid)) throw refuse('devices.uuid', 'must be plain ASCII');
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

const INCARNATION = /^[\x21-\x7e]{1,200}$/;

function checkIncarnation(incarnation: string): void {
  if (INCARNATION.test(incarnation)) return;
  throw refuse(
    'incarnation',
    'must be 1 to 200 visible ASCII characters, other ones for each start of a runner',
  );
}

/** What could not have registered is not registered. Errors: `precondition`. */
export function checkRunner({ nodeId, incarnation }: { nodeId: string; incarnation: string }): void {
  if (!isId('no', nodeId) || !INCARNATION.test(incarnation)) throw registerAgain();
}

const REPORTED: Partial<Record<ContainerState, ReportedState>> = {
  [ContainerState.CONTAINER_STATE_STARTING]: 'starting',
  [ContainerState.CONTAINER_STATE_READY]: 'ready',
  [ContainerState.CONTAINER_STATE_STOPPING]: 'stopping',
  [ContainerState.CONTAINER_STATE_STOPPED]: 'stopped',
  [ContainerState.CONTAINER_STATE_FAILED]: 'failed',
};

export const noSuchContainer = () =>
  new BerthError('not_found', 'No such container was placed on this node: end it.', {
    field: 'container_id',
  });

/** Longest texts of an error, in characters: with room to spare below what one event may weigh. */
const MESSAGE_LENGTH_MAX = 8 * 1024;
const TRACEBACK_LENGTH_MAX = 64 * 1024;
const PHASES_MAX = 32;

/** User code's own words may be of any length and hold NUL, which Postgres keeps in no text. */
const readable = (text: string, lengthMax: number) => text.slice(0, lengthMax).replaceAll('\0', '\ufffd');

export interface Report {
  state: ReportedState;
  /** What is recorded with it; a step without a time of its own has this one. */
  details(now: Date): Pick<Happening, 'phases' | 'reason' | 'error'>;
}

/** Errors: `invalid` for what is not a runner's to say; `not_found` for what is no container's id. */
export function readReport({ containerId, state, phases, error }: ReportContainerRequest): Report {
  const reported = REPORTED[state];
  if (!reported) throw refuse('state', 'must be starting, ready, stopping, stopped or failed');
  if (!isId('ta', containerId)) throw noSuchContainer();
  if (phases.length > PHASES_MAX) throw refuse('phases', `has more than ${PHASES_MAX}`);
  for (const { name, startedAt, durationMs } of phases) {
    if (
      !/^[a-z_]{1,40}$/.test(name) ||
      !(durationMs >= 0 && durationMs < Infinity) ||
      Number.isNaN(startedAt?.getTime())
    ) {
      throw refuse('phases', 'must each have a name in lower case, a time and a duration');
    }
  }
  return {
    state: reported,
    details: (now) => ({
      phases: phases.map(({ name, startedAt, durationMs }) => ({
        name,
        started_at: (startedAt ?? now).toISOString(),
        duration_ms: durationMs,
      })),
      ...(reported === 'failed' ? failureOf(error) : {}),
    }),
  };
}

function failureOf(error: InvocationError | undefined): Pick<Happening, 'reason' | 'error'> {
  if (!error) {
    const message = 'The container failed, and its runner does not say why.';
    return { error: { type: 'infrastructure', message }, reason: message };
  }
  const message = readable(error.message, MESSAGE_LENGTH_MAX);
  return {
    error: {
      type: readable(error.type, MESSAGE_LENGTH_MAX),
      message,
      ...(error.traceback === undefined
        ? {}
        : { traceback: readable(error.traceback, TRACEBACK_LENGTH_MAX) }),
    },
    reason: message,
  };
}
