import {
  AppState as AppStateMessage,
  InvocationStatus,
  Runtime,
  type App as AppMessage,
  type FunctionMessage,
  type FunctionCall,
  type InvocationResult,
  type Phase as PhaseMessage,
} from '@berth/contracts/functions/v1/functions';
import type { RuntimeName } from '../domain/definition';
import type { InputState } from '../domain/input-state';
import { composePhases } from '../domain/phases';
import type { CallView } from '../store/call-store';
import type { App, AppState } from '../store/entities';
import type { CurrentFunction } from '../store/function-store';

const APP_STATES: Record<AppState, AppStateMessage> = {
  ephemeral: AppStateMessage.APP_STATE_EPHEMERAL,
  deployed: AppStateMessage.APP_STATE_DEPLOYED,
  stopped: AppStateMessage.APP_STATE_STOPPED,
};

export const appStateFromProto = (state: AppStateMessage): AppState | undefined =>
  (Object.keys(APP_STATES) as AppState[]).find((name) => APP_STATES[name] === state);

export const appToProto = (row: App): AppMessage => ({
  appId: row.id,
  name: row.name,
  state: APP_STATES[row.state],
  environment: row.environment,
  tags: row.tags,
  createdAt: row.created_at,
});

export const RUNTIMES: Record<RuntimeName, Runtime> = {
  python: Runtime.RUNTIME_PYTHON,
  node: Runtime.RUNTIME_NODE,
};

export const runtimeFromProto = (runtime: Runtime): RuntimeName | undefined =>
  (Object.keys(RUNTIMES) as RuntimeName[]).find((name) => RUNTIMES[name] === runtime);

export const functionToProto = (row: CurrentFunction): FunctionMessage => ({
  functionId: row.function_id,
  appId: row.app_id,
  name: row.name,
  runtime: RUNTIMES[row.runtime],
  handler: row.handler,
  image: row.image,
  gpu: row.gpu,
  cpu: row.cpu,
  memory: row.memory,
  timeout: row.timeout,
  retries: row.retries,
  minContainers: row.min_containers,
  maxContainers: row.max_containers,
  webUrl: undefined,
  version: row.version,
  source: row.source,
  createdAt: row.created_at,
});

const STATUSES: Record<InputState, InvocationStatus> = {
  pending: InvocationStatus.INVOCATION_STATUS_PENDING,
  running: InvocationStatus.INVOCATION_STATUS_RUNNING,
  success: InvocationStatus.INVOCATION_STATUS_SUCCESS,
  failure: InvocationStatus.INVOCATION_STATUS_FAILURE,
  terminated: InvocationStatus.INVOCATION_STATUS_TERMINATED,
};

function phasesToProto(call: CallView): PhaseMessage[] {
  return composePhases({
    acceptedAt: call.accepted_at.getTime(),
    startedAt: call.started_at?.getTime(),
    finishedAt: call.started_at ? call.finished_at?.getTime() : undefined,
    recordedAt: call.recorded_at?.getTime(),
    container: call.container_phases ?? [],
  }).map(({ name, startedAt, durationMs }) => ({ name, startedAt: new Date(startedAt), durationMs }));
}

/** A call, in the shape of either message; `waiting` says why it is pending. */
export const callToProto = (call: CallView, waiting?: string): InvocationResult & FunctionCall => ({
  callId: call.call_id,
  functionId: call.function_id,
  status: STATUSES[call.state],
  result: call.result ?? undefined,
  error: call.error
    ? { type: call.error.type, message: call.error.message, traceback: call.error.traceback }
    : undefined,
  createdAt: call.accepted_at,
  startedAt: call.started_at ?? undefined,
  finishedAt: call.finished_at ?? undefined,
  attempts: call.attempt,
  containerId: call.container_id ?? '',
  phases: phasesToProto(call),
  waiting,
});
