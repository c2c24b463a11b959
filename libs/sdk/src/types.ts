/** The REST API's documents, as they come. Times are RFC 3339 in UTC. The same names stand in `/openapi.json`. */

export type AppState = 'ephemeral' | 'deployed' | 'stopped';
export type Runtime = 'python' | 'node';
/** pending: waits for a container. running: user code runs. The rest are final. */
export type InvocationStatus = 'pending' | 'running' | 'success' | 'failure' | 'terminated';

export interface BerthApp {
  app_id: string;
  name: string;
  state: AppState;
  environment: string;
  tags: Record<string, string>;
  created_at: string;
}

/** What a function is. Numbers that are left out take the platform's defaults. */
export interface FunctionDefinition {
  runtime: Runtime;
  /** `module:function`; for node `file:export`. */
  handler: string;
  /** Path to text; exclusive with `source`. */
  files?: Record<string, string>;
  /** The id of an uploaded tree. */
  source?: string;
  /** A registry reference, or the id of an image (`im-…`). Default: the base image of the runtime. */
  image?: string;
  /** A model, a model and count (`H100:4`), `any`, or several in order of preference. */
  gpu?: string | string[];
  /** Cores. */
  cpu?: number;
  /** MiB. */
  memory?: number;
  /** Seconds that one input may run. */
  timeout?: number;
  retries?: number;
  /** How long a failed input waits before it is run again. */
  retry_delay?: RetryDelay;
  /** Seconds that a container may take until it is ready. */
  startup_timeout?: number;
  /** Idle containers that are kept beside the busy ones while the function is in use. */
  buffer_containers?: number;
  /** When it is called by itself, without arguments. */
  schedule?: Schedule;
  min_containers?: number;
  max_containers?: number;
  /** Seconds that an idle container is kept. */
  scaledown_window?: number;
  env?: Record<string, string>;
  /** Secrets of the app's environment, by name; their variables are set in its containers. */
  secrets?: string[];
  /** Absolute path in its containers to the name of a volume of the app's environment. */
  volumes?: Record<string, string>;
  /** Inputs that one container runs at a time. */
  max_concurrent_inputs?: number;
  /** Set: the handler takes lists, and its inputs come in batches. */
  batching?: Batching;
  /** Set: it answers HTTP requests at its `web_url`. */
  web?: Web;
}

/** A container takes up to `max_batch_size` inputs at once, and waits `wait_ms` for those that are missing. */
export interface Batching {
  max_batch_size: number;
  wait_ms?: number;
}

export interface Web {
  kind: 'endpoint' | 'asgi' | 'wsgi' | 'server';
  /** The HTTP method of an endpoint; default GET. */
  method?: string;
  /** Of a server. */
  port?: number;
  /** Only requests with a proxy token of the workspace are let in. */
  requires_proxy_auth?: boolean;
}

/** Seconds. The wait before attempt n + 1 is `first * backoff ** (n - 1)`, and at most `max`. */
export interface RetryDelay {
  first?: number;
  backoff?: number;
  max?: number;
}

/** Five fields as crontab has them, in a time zone (default UTC); or seconds from one call to the next. */
export type Schedule = { cron: string; timezone?: string } | { period: number };

export interface BerthFunction {
  function_id: string;
  app_id: string;
  name: string;
  runtime: Runtime;
  handler: string;
  image: string;
  gpu: string | string[] | null;
  cpu: number;
  memory: number;
  timeout: number;
  retries: number;
  min_containers: number;
  max_containers: number;
  web_url: string | null;
  version: number;
  source: string;
  created_at: string;
  /** Set: it takes no more calls, and those that it had can still be read. */
  deleted_at: string | null;
  retry_delay: Required<RetryDelay>;
  startup_timeout: number;
  buffer_containers: number;
  max_concurrent_inputs: number;
  batching: Required<Batching> | null;
  secrets: string[];
  volumes: Record<string, string>;
  schedule: { cron: string; timezone: string; period: number | null } | null;
  web: Required<Web> | null;
  /** When its schedule calls it next. */
  next_run_at: string | null;
}

export interface FunctionVersion {
  version: number;
  created_at: string;
  source: string;
  /** New calls run it. */
  current: boolean;
  /** Parts of the definition that are not as in the version before. */
  changed: string[];
}

/** What the functions of an app were at one time. */
export interface Deployment {
  app_id: string;
  number: number;
  created_at: string;
  functions: { function_id: string; name: string; version: number }[];
  /** The deployment that this one went back to. */
  rollback_of: number | null;
}

export interface InvocationError {
  /** The exception's class, or `timeout`, `out_of_memory`, `container_exited`, `init_failed`, … */
  type: string;
  message: string;
  traceback: string | null;
}

/** One step of a call's way: queued, placed, image, create, start, init, run, record. */
export interface Phase {
  name: string;
  started_at: string;
  duration_ms: number;
}

export interface InvocationResult<R = unknown> {
  call_id: string;
  function_id: string;
  status: InvocationStatus;
  result: R | null;
  error: InvocationError | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  attempts: number;
  container_id: string;
  phases: Phase[];
  /** Why it is pending, and what would start it. */
  waiting: string | null;
  /** One, but for a map; its results are its outputs. */
  num_inputs: number;
  num_succeeded: number;
  num_failed: number;
  num_terminated: number;
  /** `json`, or as the input was; empty while there is no result. */
  result_format: string;
  /** A result that is not JSON, in base64; `result` is null then. */
  result_bytes: string | null;
  /** Of a result that is too large to be shown: the id of the tree that holds it. */
  result_blob: string;
}

export interface FunctionCall<R = unknown> extends InvocationResult<R> {
  /** Whether its webhook was told; null without one. */
  webhook: WebhookDelivery | null;
}

/** What a generator function yielded. */
export interface FunctionItem<T = unknown> {
  /** From 0. */
  index: number;
  value: T;
}

/** The outcome of one input of a call. */
export interface FunctionOutput<R = unknown> {
  call_id: string;
  input_id: string;
  /** From 0. */
  index: number;
  status: InvocationStatus;
  result: R | null;
  error: InvocationError | null;
  started_at: string | null;
  finished_at: string | null;
  attempts: number;
  container_id: string;
  /** Where to read on from, in the order in which this was read. */
  cursor: string;
  result_format: string;
  result_bytes: string | null;
  /** Of a result that is too large to be shown: the id of the tree that holds it. */
  result_blob: string;
}

/** As they are recorded, or by index. */
export type OutputOrder = 'recorded' | 'index';

/** Which log lines. Times are RFC 3339. */
export interface LogRange {
  /** Go on with those to come. */
  follow?: boolean;
  since?: string;
  until?: string;
  /** Of those that are there only the last so many. */
  tail?: number;
}

/** Who is told of a call's end: by a POST, signed as Standard Webhooks lays down. */
export interface Webhook {
  url: string;
  /** `whsec_` and base64, or 16 to 256 characters; without one nothing is signed. */
  secret?: string;
}

export interface WebhookDelivery {
  /** Of its URL only this: the rest may be a credential. */
  host: string;
  state: 'waiting' | 'pending' | 'delivered' | 'failed';
  attempts: number;
  next_attempt_at: string | null;
  /** Why the last attempt failed. */
  last_error: string | null;
}

export interface LogLine {
  time: string;
  stream: 'stdout' | 'stderr';
  text: string;
  function_id: string;
  container_id: string;
  /** Empty for what was printed outside a call. */
  call_id: string;
}

export interface Device {
  device_id: string;
  index: number;
  model: string;
  /** MiB. */
  memory: number;
  uuid: string;
  /** No such card exists: it stands in for one on a machine without. */
  simulated: boolean;
  container_id: string;
}

export interface Node {
  node_id: string;
  name: string;
  state: 'ready' | 'down';
  engine: string;
  cpu: number;
  cpu_free: number;
  /** MiB. */
  memory: number;
  memory_free: number;
  devices: Device[];
  last_heartbeat_at: string;
  containers: number;
}

export type ContainerState =
  'pending' | 'assigned' | 'starting' | 'ready' | 'stopping' | 'stopped' | 'failed' | 'lost';

export interface Container {
  container_id: string;
  workspace_id: string;
  app_id: string;
  function_id: string;
  version: number;
  state: ContainerState;
  node_id: string;
  devices: Device[];
  created_at: string;
  ready_at: string | null;
  ended_at: string | null;
  /** Why it waits, and what would place it; or why it failed. */
  reason: string | null;
  phases: Phase[];
  error: InvocationError | null;
}

export interface TreeEntry {
  path: string;
  executable: boolean;
  /** Bytes; a decimal string in answers. */
  size: number | string;
  chunks: string[];
}

export interface Tree {
  tree_id: string;
  entries: TreeEntry[];
  content_hash: string;
  created_at: string;
}

export interface WhoAmI {
  principal: {
    credential_kind: 'api_token' | 'admin_key';
    credential_id: string;
    organization_id: string;
    workspace_id: string;
    user_id: string;
    role: string;
    scope: string;
  };
  email: string;
}

export interface Page<T> {
  data: T[];
  /** Empty on the last page. */
  next_cursor: string;
}
