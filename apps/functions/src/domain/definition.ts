import { BerthError } from '@berth/service-kit';
import { checkGpu } from './gpu';
import { fullReference, refusedReference } from './image-reference';
import { checkCron } from './schedule';

export type RuntimeName = 'python' | 'node';

/** What a function version is, complete and checked; as it is stored. */
export interface Definition {
  runtime: RuntimeName;
  handler: string;
  /** Empty: the base image of the runtime. */
  image: string;
  gpu: string[];
  /** Cores. */
  cpu: number;
  /** MiB. */
  memory: number;
  /** Seconds that one input may run. */
  timeout: number;
  /** Seconds that a container may take until it is ready. */
  startup_timeout: number;
  retries: number;
  retry_delay: RetryDelay;
  min_containers: number;
  max_containers: number;
  /** Idle containers beside the busy ones while there are any. */
  buffer_containers: number;
  /** Seconds that an idle container is kept. */
  scaledown_window: number;
  /** Inputs that one container runs at a time. */
  max_concurrent_inputs: number;
  batching: Batching | null;
  env: Record<string, string>;
  /** Names, of the app's environment. */
  secrets: string[];
  /** Path inside to the name of a volume of the app's environment. */
  volumes: Record<string, string>;
  schedule: Schedule | null;
  web: Web | null;
}

/** Seconds, and the factor by which the wait grows with each further failure. */
export interface RetryDelay {
  first: number;
  backoff: number;
  max: number;
}

export interface Batching {
  max_batch_size: number;
  wait_ms: number;
}

export type Schedule = { cron: string; timezone: string } | { period: number };

export interface Web {
  kind: WebKind;
  /** Of an endpoint; else empty. */
  method: string;
  /** Of a server; else 0. */
  port: number;
  requires_proxy_auth: boolean;
}

export type WebKind = 'endpoint' | 'asgi' | 'wsgi' | 'server';

/** Without, or undefined in place of, each value that was not given. */
type Given<T> = { [Field in keyof T]?: T[Field] | undefined };

/** What a caller gave. */
export interface GivenDefinition extends Given<
  Omit<Definition, 'retry_delay' | 'batching' | 'schedule' | 'web'>
> {
  handler: string;
  image: string;
  gpu: string[];
  env: Record<string, string>;
  secrets: string[];
  volumes: Record<string, string>;
  retry_delay: Given<RetryDelay> | undefined;
  batching: Batching | undefined;
  schedule: { cron: string; timezone: string; period?: number | undefined } | undefined;
  web: Given<Web> | undefined;
}

const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Errors: `invalid`. Names of apps and functions stand in commands and URLs, so they are plain. */
export function checkPlainName(name: string): void {
  if (NAME.test(name)) return;
  throw refuse('name', "must be 1 to 63 of a-z, A-Z, 0-9, '-', '_', '.', beginning with a letter or digit");
}

const WORD = String.raw`[\p{L}_$][\p{L}\p{N}_$]*`;
/** `module:function`, with dots on both sides; node modules may also be paths and have hyphens. */
const HANDLERS: Record<RuntimeName, RegExp> = {
  python: new RegExp(`^${WORD}(\\.${WORD})*:${WORD}(\\.${WORD})*$`, 'u'),
  node: new RegExp(`^[\\p{L}\\p{N}_$@.-]+(/[\\p{L}\\p{N}_$@.-]+)*:${WORD}(\\.${WORD})*$`, 'u'),
};
const HANDLER_LENGTH_MAX = 255;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Of all variables together; they travel with each container. Bytes. */
const ENV_BYTES_MAX = 64 * 1024;

/**
 * The definition with its defaults, the same whether a function is made or replaced.
 * Errors: `invalid` with the field at fault.
 */
export function completeDefinition(given: GivenDefinition): Definition {
  const { runtime, handler, image } = given;
  if (!runtime) throw refuse('runtime', 'must be python or node');
  checkHandler(runtime, handler);
  const refused = image.startsWith('im-') || !image ? undefined : refusedReference(image);
  if (refused) throw refuse('image', refused);
  const timeout = inRange('timeout', given.timeout, 300, 1, 86_400);
  const definition: Definition = {
    runtime,
    handler,
    image: fullReference(image),
    gpu: checkGpu(given.gpu),
    cpu: inRange('cpu', given.cpu, 1, 0.1, 256),
    memory: inRange('memory', given.memory, 256, 64, 4_194_304),
    timeout,
    startup_timeout: inRange('startup_timeout', given.startup_timeout, defaultStartup(timeout), 1, 3600),
    retries: inRange('retries', given.retries, 0, 0, 10),
    retry_delay: checkRetryDelay(given.retry_delay),
    min_containers: inRange('min_containers', given.min_containers, 0, 0, 1000),
    max_containers: inRange('max_containers', given.max_containers, 10, 1, 1000),
    buffer_containers: inRange('buffer_containers', given.buffer_containers, 0, 0, 1000),
    scaledown_window: inRange('scaledown_window', given.scaledown_window, 60, 1, 3600),
    max_concurrent_inputs: inRange('max_concurrent_inputs', given.max_concurrent_inputs, 1, 1, 1000),
    batching: given.batching ? checkBatching(given.batching) : null,
    env: checkEnv(given.env),
    secrets: checkSecrets(given.secrets),
    volumes: checkVolumes(given.volumes),
    schedule: given.schedule ? checkSchedule(given.schedule) : null,
    web: given.web ? checkWeb(given.web) : null,
  };
  if (definition.min_containers > definition.max_containers) {
    throw refuse('min_containers', `is greater than max_containers (${definition.max_containers})`);
  }
  if (definition.web) checkWithWeb(definition);
  return definition;
}

const defaultStartup = (timeout: number): number => Math.min(Math.max(timeout, 60), 3600);

function checkHandler(runtime: RuntimeName, handler: string): void {
  if (handler.length <= HANDLER_LENGTH_MAX && HANDLERS[runtime].test(handler)) return;
  throw refuse('handler', 'must be module:function, such as main:run');
}

function inRange(field: string, given: number | undefined, fallback: number, min: number, max: number) {
  const value = given ?? fallback;
  if (value >= min && value <= max) return value;
  throw refuse(field, `must be from ${min} to ${max}`);
}

function checkEnv(env: Readonly<Record<string, string>>): Record<string, string> {
  let bytes = 0;
  for (const [name, value] of Object.entries(env)) {
    // The value is never repeated: it may be a secret.
    if (!VARIABLE.test(name)) throw refuse('env', 'has a name that is not letters, digits and _');
    if (name.startsWith('BERTH_'))
      throw refuse('env', `may not set ${name}: BERTH_ names are the platform's`);
    if (value.includes('\0')) throw refuse('env', `has a value with NUL in it (${name})`);
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes > ENV_BYTES_MAX) throw refuse('env', `is larger than ${ENV_BYTES_MAX} bytes`);
  return { ...env };
}

function checkRetryDelay(given: Given<RetryDelay> | undefined): RetryDelay {
  return {
    first: inRange('retry_delay.first', given?.first, 1, 0, 3600),
    backoff: inRange('retry_delay.backoff', given?.backoff, 2, 1, 10),
    max: inRange('retry_delay.max', given?.max, 60, 0, 86_400),
  };
}

const checkBatching = ({ max_batch_size, wait_ms }: Batching): Batching => ({
  max_batch_size: inRange('batching.max_batch_size', max_batch_size, 2, 2, 1000),
  wait_ms: inRange('batching.wait_ms', wait_ms, 0, 0, 600_000),
});

/** Of one function; their variables travel with each container. */
const SECRETS_MAX = 32;

function checkSecrets(names: readonly string[]): string[] {
  if (names.length > SECRETS_MAX) throw refuse('secrets', `names more than ${SECRETS_MAX} secrets`);
  for (const name of names)
    if (!NAME.test(name)) throw refuse('secrets', 'has a name that no secret can have');
  return [...new Set(names)];
}

/** Outside of what the platform itself mounts. */
const VOLUME_PATH = /^(?!\/(berth|proc|sys|dev)(\/|$))(\/(?!\.{1,2}(\/|$))[^/\0:]+)+$/;
const VOLUMES_MAX = 32;

function checkVolumes(volumes: Readonly<Record<string, string>>): Record<string, string> {
  const paths = Object.keys(volumes);
  if (paths.length > VOLUMES_MAX) throw refuse('volumes', `names more than ${VOLUMES_MAX} volumes`);
  for (const path of paths) {
    if (!VOLUME_PATH.test(path))
      throw refuse('volumes', 'has a path that is not absolute, such as /data, or is the system’s own');
    if (!NAME.test(volumes[path]!)) throw refuse('volumes', 'has a name that no volume can have');
    if (paths.some((other) => other.startsWith(`${path}/`))) {
      throw refuse('volumes', 'has a path inside another volume');
    }
    if (paths.some((other) => other !== path && volumes[other] === volumes[path])) {
      throw refuse('volumes', `names ${volumes[path]} at two paths: one container has a volume once`);
    }
  }
  return { ...volumes };
}

function checkSchedule({ cron, timezone, period }: NonNullable<GivenDefinition['schedule']>): Schedule {
  if (period !== undefined) {
    if (cron || timezone) throw refuse('schedule', 'has a period and a cron: give one of them');
    return { period: inRange('schedule.period', period, 1, 1, 31_536_000) };
  }
  if (!cron) throw refuse('schedule', 'needs a cron, such as 0 9 * * 1, or a period in seconds');
  checkCron(cron, timezone || 'UTC');
  return { cron: cron.trim(), timezone: timezone || 'UTC' };
}

const WEB_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

function checkWeb({ kind, method = '', port = 0, requires_proxy_auth = false }: Given<Web>): Web {
  if (!kind) throw refuse('web.kind', 'must be endpoint, asgi, wsgi or server');
  if (kind !== 'endpoint' && method) throw refuse('web.method', 'is of endpoints only');
  if (kind !== 'server' && port) throw refuse('web.port', 'is of servers only');
  if (method && !WEB_METHODS.includes(method)) {
    throw refuse('web.method', `must be one of ${WEB_METHODS.join(', ')}`);
  }
  return {
    kind,
    method: kind === 'endpoint' ? method || 'GET' : '',
    port: kind === 'server' ? inRange('web.port', port, 0, 1, 65_535) : 0,
    requires_proxy_auth,
  };
}

/** A web request is a stream that was begun and cannot be begun again, nor be one of many or of none. */
function checkWithWeb({ web, runtime, retries, batching, schedule }: Definition): void {
  if (runtime === 'node' && (web!.kind === 'asgi' || web!.kind === 'wsgi')) {
    throw refuse('web.kind', `${web!.kind} is for python: node has endpoint and server`);
  }
  if (retries > 0) throw refuse('retries', 'must be 0 for a web endpoint: its clients repeat what they may');
  if (batching) throw refuse('batching', 'does not go with web: a request is answered by itself');
  if (schedule) throw refuse('schedule', 'does not go with web: make another function for it');
}

/** Whether two definitions are the same in every part, in whatever order those are written. */
export const isSameDefinition = (one: Definition, other: Definition): boolean =>
  JSON.stringify(one, sortKeys) === JSON.stringify(other, sortKeys);

const sortKeys = (_: string, value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
    : value;

/** What the files of a function's source may come to; each node that runs it keeps a copy. Bytes. */
const SOURCE_BYTES_MAX = 1024 ** 3;

/** Errors: `invalid` with the field `source`. */
export function checkSourceSize(bytes: number): void {
  if (bytes <= SOURCE_BYTES_MAX) return;
  throw refuse('source', `holds files of ${bytes} bytes, and at most ${SOURCE_BYTES_MAX} are taken`);
}

const NODE_EXTENSIONS = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];

/**
 * Checks that the handler's module is among the files of its source. An image of the user's own may bring modules
 * that the source does not have, so there only the container can tell. Errors: `invalid` with the field `handler`.
 */
export function checkModule({ runtime, handler, image }: Definition, paths: readonly string[]): void {
  if (image !== '') return;
  const module = handler.slice(0, handler.indexOf(':'));
  const dotted = module.replaceAll('.', '/');
  const candidates =
    runtime === 'python'
      ? [`${dotted}.py`, `${dotted}/__init__.py`]
      : [module, dotted].flatMap((stem) => [
          stem,
          ...NODE_EXTENSIONS.flatMap((extension) => [stem + extension, `${stem}/index${extension}`]),
        ]);
  const known = new Set(paths);
  if (candidates.some((path) => known.has(path))) return;
  throw refuse('handler', `names the module ${module}, and the source has no ${candidates[0]}`);
}
