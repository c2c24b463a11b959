/** Why an image was not built, in the words that users get. */
import type { ImageError } from '@berth/contracts/functions/v1/images';

/** The part of an engine's error that is read here. */
export interface EngineFailure {
  kind: string;
  message: string;
  reason?: string;
  exitCode?: number | undefined;
  outOfMemory?: boolean;
}

/** Where a build was when it failed. */
export interface BuildPlace {
  step: number | undefined;
  /** Undefined for a Containerfile, whose instructions are not counted before. */
  steps: number | undefined;
  stepText: string;
  logTail: string[];
}

const error = (type: string, message: string, place?: BuildPlace): ImageError => ({
  type,
  message,
  step: place?.step,
  stepText: place?.stepText ?? '',
  logTail: place?.logTail ?? [],
});

export const infrastructureError = (message: string): ImageError => error('infrastructure', message);

export const timeoutError = (seconds: number, place: BuildPlace): ImageError =>
  error(
    'timeout',
    `It was not built within ${seconds} seconds${place.stepText ? `, and was at: ${place.stepText}` : ''}.`,
    place,
  );

export function errorOfBuild(failure: EngineFailure, place: BuildPlace, memoryMib: number): ImageError {
  const { kind, message, reason = message, exitCode, outOfMemory } = failure;
  if (kind === 'unavailable') return infrastructureError(message);
  if (kind === 'unsupported') return error('unsupported', message);
  if (/manifest unknown|pull access denied|repository does not exist/i.test(reason))
    return error('base_not_found', reason, place);
  const which =
    place.step === undefined
      ? 'The build'
      : `Step ${place.step + 1}${place.steps ? ` of ${place.steps}` : ''} (${place.stepText})`;
  if (outOfMemory) {
    return error(
      'out_of_memory',
      `${which} needed more than the ${memoryMib} MiB of memory that a build may use on this node (BERTH_BUILD_MEMORY_MIB).`,
      place,
    );
  }
  const how = exitCode === undefined ? `: ${reason}` : ` with exit code ${exitCode}.`;
  return error('build_failed', `${which} failed${how}`, place);
}

/** Why what it begins with is not there. */
export function errorOfBase(base: string, { kind, message }: EngineFailure): ImageError {
  if (/denied|unauthorized|authentication required|no basic auth/i.test(message)) {
    return error(
      'base_denied',
      `The registry does not give ${base} (${message.replace(/\.$/, '')}): check its name, and the registry_secret's REGISTRY_USERNAME and REGISTRY_PASSWORD.`,
    );
  }
  if (kind === 'not_found' || kind === 'invalid') return error('base_not_found', message);
  return infrastructureError(message);
}
