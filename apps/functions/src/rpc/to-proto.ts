import {
  AppState as AppStateMessage,
  InvocationStatus,
  Runtime,
  Schedule,
  WebKind as WebKindMessage,
  WebhookState as WebhookStateMessage,
  type App as AppMessage,
  type Deployment as DeploymentMessage,
  type FunctionMessage,
  type FunctionCall,
  type FunctionOutput,
  type InvocationResult,
  type WebhookDelivery,
  type Phase as PhaseMessage,
  type Web as WebMessage,
} from '@berth/contracts/functions/v1/functions';
import type { RuntimeName, Web, WebKind } from '../domain/definition';
import { isFinal, type InputState } from '../domain/input-state';
import type { InputError } from '../domain/outcome';
import { composePhases } from '../domain/phases';
import { mapState } from '../domain/map';
import { isMap, type CallView, type MapView } from '../store/call-store';
import type { Output } from '../store/map-store';
import type { WebhookState } from '../domain/webhook';
import type { App, AppState, Deployment, WebhookRow } from '../store/entities';
import { webUrl, type WebAddress } from '../domain/web';
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

const WEB_KINDS: Record<WebKind, WebKindMessage> = {
  endpoint: WebKindMessage.WEB_KIND_ENDPOINT,
  asgi: WebKindMessage.WEB_KIND_ASGI,
  wsgi: WebKindMessage.WEB_KIND_WSGI,
  server: WebKindMessage.WEB_KIND_SERVER,
};

export const webKindFromProto = (kind: WebKindMessage): WebKind | undefined =>
  (Object.keys(WEB_KINDS) as WebKind[]).find((name) => WEB_KINDS[name] === kind);

export const webToProto = (web: Web): WebMessage => ({
  kind: WEB_KINDS[web.kind],
  method: web.method,
  port: web.port,
  requiresProxyAuth: web.requires_proxy_auth,
});

export const functionToProto = (
  { definition, ...row }: CurrentFunction,
  address: WebAddress,
): FunctionMessage => ({
  functionId: row.function_id,
  appId: row.app_id,
  name: row.name,
  runtime: RUNTIMES[definition.runtime],
  handler: definition.handler,
  image: definition.image,
  gpu: definition.gpu,
  cpu: definition.cpu,
  memory: definition.memory,
  timeout: definition.timeout,
  retries: definition.retries,
  minContainers: definition.min_containers,
  maxContainers: definition.max_containers,
  webUrl: webUrl(address, row.web_label, definition),
  version: row.version,
  source: row.source,
  createdAt: row.created_at,
  retryDelay: definition.retry_delay,
  startupTimeout: definition.startup_timeout,
  bufferContainers: definition.buffer_containers,
  maxConcurrentInputs: definition.max_concurrent_inputs,
  batching: definition.batching
    ? { maxBatchSize: definition.batching.max_batch_size, waitMs: definition.batching.wait_ms }
    : undefined,
  secrets: definition.secrets,
  volumes: definition.volumes,
  schedule: definition.schedule ? Schedule.fromPartial(definition.schedule) : undefined,
  parameters: row.parameters ? Buffer.from(row.parameters) : undefined,
  deletedAt: row.deleted_at ?? undefined,
  nextRunAt: row.next_run_at ?? undefined,
  web: definition.web ? webToProto(definition.web) : undefined,
});

export const deploymentToProto = (row: Deployment): DeploymentMessage => ({
  appId: row.app_id,
  number: row.number,
  createdAt: row.created_at,
  functions: row.functions.map(({ function_id, name, version }) => ({
    functionId: function_id,
    name,
    version,
  })),
  rollbackOf: row.rollback_of ?? undefined,
});

const WEBHOOK_STATES: Record<WebhookState, WebhookStateMessage> = {
  waiting: WebhookStateMessage.WEBHOOK_STATE_WAITING,
  pending: WebhookStateMessage.WEBHOOK_STATE_PENDING,
  delivered: WebhookStateMessage.WEBHOOK_STATE_DELIVERED,
  failed: WebhookStateMessage.WEBHOOK_STATE_FAILED,
};

export const webhookToProto = (
  row: Pick<WebhookRow, 'host' | 'state' | 'attempts' | 'next_at' | 'last_error'>,
): WebhookDelivery => ({
  host: row.host,
  state: WEBHOOK_STATES[row.state],
  attempts: row.attempts,
  nextAttemptAt: row.next_at ?? undefined,
  lastError: row.last_error ?? undefined,
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

const errorToProto = (error: InputError | null) =>
  error ? { type: error.type, message: error.message, traceback: error.traceback } : undefined;

/** What is JSON is shown as it is, all else as bytes with the name of its format. */
const resultToProto = ({
  result,
  result_format: format,
  result_blob: blob,
}: Pick<CallView, 'result' | 'result_format' | 'result_blob'>) => {
  const shown = blob ? undefined : (result ?? undefined);
  return {
    result: format === 'json' ? shown : undefined,
    resultFormat: format ?? '',
    resultBytes: format === 'json' ? undefined : shown,
    resultBlob: blob ?? '',
  };
};

/** A call, in the shape of either message; `waiting` says why it is pending. */
export const callToProto = (call: CallView | MapView, waiting?: string): InvocationResult & FunctionCall =>
  isMap(call) ? mapToProto(call, waiting) : singleToProto(call, waiting);

const singleToProto = (call: CallView, waiting?: string): InvocationResult & FunctionCall => ({
  callId: call.call_id,
  functionId: call.function_id,
  status: STATUSES[call.state],
  ...resultToProto(call),
  error: errorToProto(call.error),
  createdAt: call.accepted_at,
  startedAt: call.started_at ?? undefined,
  finishedAt: call.finished_at ?? undefined,
  attempts: call.attempt,
  containerId: call.container_id ?? '',
  phases: phasesToProto(call),
  waiting,
  numInputs: 1,
  numSucceeded: call.state === 'success' ? 1 : 0,
  numFailed: call.state === 'failure' ? 1 : 0,
  numTerminated: call.state === 'terminated' ? 1 : 0,
  webhook: undefined,
});

/** A map has no result, attempts or way of its own: its outputs have. */
function mapToProto(map: MapView, waiting?: string): InvocationResult & FunctionCall {
  const state = mapState(map);
  return {
    callId: map.call_id,
    functionId: map.function_id,
    status: STATUSES[state],
    ...resultToProto({ result: null, result_format: null, result_blob: null }),
    error: undefined,
    createdAt: map.created_at,
    startedAt: map.first_started_at ?? undefined,
    finishedAt: isFinal(state) ? (map.last_finished_at ?? undefined) : undefined,
    attempts: 0,
    containerId: '',
    phases: [],
    waiting,
    numInputs: map.num_inputs,
    numSucceeded: map.num_succeeded,
    numFailed: map.num_failed,
    numTerminated: map.num_terminated,
    webhook: undefined,
  };
}

export const outputToProto = (output: Output, cursor: string): FunctionOutput => ({
  callId: output.call_id,
  inputId: output.input_id,
  index: output.index,
  status: STATUSES[output.state],
  ...resultToProto(output),
  error: errorToProto(output.error),
  startedAt: output.started_at ?? undefined,
  finishedAt: output.finished_at ?? undefined,
  attempts: output.attempt,
  containerId: output.container_id ?? '',
  cursor,
});
