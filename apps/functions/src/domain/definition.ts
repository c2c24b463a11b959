import { BerthError } from '@berth/service-kit';
import { checkGpu } from './gpu';

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
  retries: number;
  min_containers: number;
  max_containers: number;
  env: Record<string, string>;
  /** Seconds that an idle container is kept. */
  scaledown_window: number;
}

/** What a caller gave: undefined where nothing was said. */
export interface GivenDefinition {
  runtime: RuntimeName | undefined;
  handler: string;
  image: string;
  gpu: readonly string[];
  cpu: number | undefined;
  memory: number | undefined;
  timeout: number | undefined;
  retries: number | undefined;
  min_containers: number | undefined;
  max_containers: number | undefined;
  env: Readonly<Record<string, string>>;
  scaledown_window: number | undefined;
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
const IMAGE = /^[a-z0-9][\w.\-/:@]{0,254}$/i;
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
  if (image !== '' && !IMAGE.test(image)) {
    throw refuse('image', 'is not an image reference such as python:3.12-slim');
  }
  const definition: Definition = {
    runtime,
    handler,
    image,
    gpu: checkGpu(given.gpu),
    cpu: inRange('cpu', given.cpu, 1, 0.1, 256),
    memory: inRange('memory', given.memory, 256, 64, 4_194_304),
    timeout: inRange('timeout', given.timeout, 300, 1, 86_400),
    retries: inRange('retries', given.retries, 0, 0, 10),
    min_containers: inRange('min_containers', given.min_containers, 0, 0, 1000),
    max_containers: inRange('max_containers', given.max_containers, 10, 1, 1000),
    env: checkEnv(given.env),
    scaledown_window: inRange('scaledown_window', given.scaledown_window, 60, 1, 3600),
  };
  if (definition.min_containers > definition.max_containers) {
    throw refuse('min_containers', `is greater than max_containers (${definition.max_containers})`);
  }
  return definition;
}

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

/** Whether two definitions are the same in every part. */
export function isSameDefinition(one: Definition, other: Definition): boolean {
  const parts = (definition: Definition) => [
    definition.runtime,
    definition.handler,
    definition.image,
    definition.gpu,
    definition.cpu,
    definition.memory,
    definition.timeout,
    definition.retries,
    definition.min_containers,
    definition.max_containers,
    Object.entries(definition.env).sort(),
    definition.scaledown_window,
  ];
  return JSON.stringify(parts(one)) === JSON.stringify(parts(other));
}

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
