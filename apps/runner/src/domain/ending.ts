/** How inputs and containers end, in the words that users get. */
import { isUtf8 } from 'node:buffer';
import type { InvocationError } from '@berth/contracts/functions/v1/functions';

/** How a container's first process ended. */
export interface Exit {
  exitCode: number;
  signal?: string | undefined;
  outOfMemory: boolean;
}

/**
 * Why a runner killed a container.
 * overran: an input did not end when it was told to. unwanted: it is on no list any more. leaving: the runner stops.
 * protocol: what came out of it was not the worker's language. frozen: nothing in it could run any more.
 */
export type KillCause = 'overran' | 'unwanted' | 'leaving' | 'protocol' | 'frozen';

/** Why the runner asked for the end of an input: or the error that it is to end with. */
export type AskedEnd = 'timeout' | 'cancelled' | InvocationError;

export interface Limits {
  timeoutSeconds: number;
  memoryMib: number;
}

export type Outcome =
  | { kind: 'success'; payload: Buffer; format: string; blob?: string }
  | { kind: 'failure'; error: InvocationError };

const failure = (type: string, message: string, traceback?: string): Outcome => ({
  kind: 'failure',
  error: { type, message, traceback: traceback || undefined },
});

/** What the worker itself says when a result cannot be carried as JSON, or is too large. */
const RESULT_INVALID = new Set(['ResultNotSerializable', 'ResultTooLarge', 'BatchResultInvalid']);

/** The outcome of an input that the worker says has ended. The runner's own limit goes over what user code made of it. */
export function outcomeSaid(
  said:
    | { kind: 'success'; payload: Buffer; format: string; blob?: string }
    | { kind: 'failure'; error: { type: string; message: string; traceback: string } },
  asked: AskedEnd | undefined,
  limits: Limits,
): Outcome {
  const traceback = said.kind === 'failure' ? said.error.traceback : '';
  if (asked) return outcomeAsked(asked, limits, traceback);
  if (said.kind === 'success') return said;
  const { type, message } = said.error;
  return failure(RESULT_INVALID.has(type) ? 'result_invalid' : type, message, traceback);
}

/**
 * From this attempt on an input that the queue gives out again runs alone. Who of several brought their container down
 * nobody can say: so the guilty one is found out, and those that only met it go free.
 */
export const SUSPECT_FROM_ATTEMPT = 3;

/** From this attempt on it answers also in company: it could not be had alone, for others run on and on. */
const ATTEMPTS_IN_COMPANY_MAX = 10;

/**
 * The outcome of an input whose worker went away with it; undefined where it goes back to the queue and runs elsewhere:
 * the runner killed the container for a reason that is not this input's, or another input may have brought it down.
 */
export function outcomeLost(
  ending: { exit: Exit; killed: KillCause | undefined },
  { asked, attempt, inCompany }: { asked: AskedEnd | undefined; attempt: number; inCompany: boolean },
  limits: Limits,
): Outcome | undefined {
  if (asked) return outcomeAsked(asked, limits);
  if (ending.killed && ending.killed !== 'protocol' && ending.killed !== 'frozen') return undefined;
  // Who froze it was mostly outside: what an input did itself, it does again.
  if (ending.killed === 'frozen' && attempt < SUSPECT_FROM_ATTEMPT) return undefined;
  if (inCompany && attempt < ATTEMPTS_IN_COMPANY_MAX) return undefined;
  return { kind: 'failure', error: errorOfExit(ending.exit, ending.killed, limits) };
}

/** The outcome of an input that was cancelled before it began. */
export const outcomeCancelled = (): Outcome => failure('cancelled', 'The call was cancelled.');

function outcomeAsked(asked: AskedEnd, { timeoutSeconds }: Limits, traceback?: string): Outcome {
  if (typeof asked === 'object') return { kind: 'failure', error: asked };
  if (asked === 'cancelled') return failure('cancelled', 'The call was cancelled.', traceback);
  const seconds = timeoutSeconds === 1 ? '1 second' : `${timeoutSeconds} seconds`;
  return failure(
    'timeout',
    `The input ran longer than the ${seconds} that the function's timeout allows.`,
    traceback,
  );
}

/** Why a generator was ended by one of its items; undefined for one that can be kept. */
export function errorOfItem(
  { index, format, payload }: { index: number; format: string; payload: Buffer },
  bytesMax: number,
): InvocationError | undefined {
  const error = (why: string) => ({
    type: 'result_invalid',
    message: `Item ${index} of the generator ${why}.`,
    traceback: undefined,
  });
  if (payload.length > bytesMax) {
    return error(`is larger than ${bytesMax} bytes: store it, and yield where it is`);
  }
  return format === 'json' && isJson(payload) ? undefined : error('is not JSON');
}

/** A worker checks what it sends; but what speaks for the container is the user's. */
function isJson(payload: Buffer): boolean {
  if (!isUtf8(payload)) return false;
  try {
    JSON.parse(payload.toString());
    return true;
  } catch {
    return false;
  }
}

/** Why a container ended that nobody asked to end. */
export function errorOfExit(
  { exitCode, signal, outOfMemory }: Exit,
  killed: KillCause | undefined,
  { memoryMib }: Limits,
): InvocationError {
  const error = (type: string, message: string) => ({ type, message, traceback: undefined });
  if (killed === 'protocol') {
    return error(
      'container_exited',
      'The container was ended: something in it wrote to the socket of its worker, which user code must leave alone.',
    );
  }
  if (killed === 'frozen') {
    return error(
      'container_exited',
      'The container was ended: all of its processes were stopped, and nobody let them go on.',
    );
  }
  if (outOfMemory) {
    return error(
      'out_of_memory',
      `The container needed more than its ${memoryMib} MiB of memory and was killed. Give the function more memory.`,
    );
  }
  return error(
    'container_exited',
    signal
      ? `The container was ended by ${signal} before user code had finished.`
      : `The container's process exited with code ${exitCode} before user code had finished.`,
  );
}

/** Why a container was given up that took too long to become ready. */
export const errorOfStartup = (seconds: number): InvocationError => ({
  type: 'startup_timeout',
  message: `The container was not ready within the ${seconds === 1 ? '1 second' : `${seconds} seconds`} that the function's startup_timeout allows.`,
  traceback: undefined,
});

/** A container's last word about itself: undefined for one that ended as it should. */
export function errorOfContainer(
  exit: Exit,
  {
    killed,
    drained,
    hadInputs,
    limits,
  }: { killed: KillCause | undefined; drained: boolean; hadInputs: boolean; limits: Limits },
): InvocationError | undefined {
  if (killed && killed !== 'protocol' && killed !== 'frozen') return undefined;
  if (!killed && drained) return undefined;
  if (!killed && exit.exitCode === 0 && !hadInputs) return undefined;
  return errorOfExit(exit, killed, limits);
}

/** Why a container never became ready, by the error of the engine. `image` and `program` are the user's to change. */
export function errorOfEngine(
  { kind, field, message }: { kind: string; field?: string | undefined; message: string },
  { image, program }: { image: string; program: string },
): InvocationError {
  const error = (type: string, text: string) => ({ type, message: text, traceback: undefined });
  if (/executable file not found|exec:.*no such file/i.test(message)) {
    return error(
      'init_failed',
      `The image ${image} has no ${program}, which this function's runtime needs: use an image that has it.`,
    );
  }
  if (kind === 'invalid' && /^(image|env|memoryBytes|cpus)/.test(field ?? ''))
    return error('init_failed', message);
  return error('infrastructure', `The container could not be started: ${message}`);
}

/** Why an image is not there. One of Berth's own is the operator's to bring, any other the user's. */
export function errorOfImage(image: string, message: string): InvocationError {
  const own = image.startsWith('berth/');
  return {
    type: own ? 'infrastructure' : 'init_failed',
    message: own
      ? `The image ${image} is not on this node: start the platform again, or run tools/images, which builds it.`
      : `The image ${image} cannot be had (${message.replace(/\.$/, '')}): check its name and tag, and that its registry can be reached from this node.`,
    traceback: undefined,
  };
}

/** Why an image of the user's own could not be made on this node. Trouble of the platform is worth another try. */
export const errorOfImageBuild = (
  imageId: string,
  { type, message }: { type: string; message: string },
): InvocationError => ({
  type: type === 'infrastructure' ? type : 'image_failed',
  message: `The image ${imageId} could not be made on this node: ${message}`,
  traceback: undefined,
});

/** Whether it failed, or what it was caused by did, for the disk has no room. */
export function isDiskFull(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (['ENOSPC', 'EDQUOT'].includes((each as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}

/** Why a container could not be made on such a disk. Waiting may help. */
export const errorOfFullDisk = (): InvocationError => ({
  type: 'infrastructure',
  message:
    'The container could not be started: the disk of its node is full. Its operator has to make room there.',
  traceback: undefined,
});
