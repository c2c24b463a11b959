import { EngineError } from '../engine';

interface DockerFailure {
  statusCode?: number;
  code?: string;
  json?: { message?: string };
  message?: string;
}

/** Turns what dockerode throws into an `EngineError` that says what to do. `doing` completes "Could not …". */
export function toEngineError(error: unknown, doing: string): EngineError {
  if (error instanceof EngineError) return error;
  const { statusCode, code, json, message } = error as DockerFailure;
  const reason = json?.message ?? message ?? String(error);
  if (statusCode === undefined) {
    return new EngineError(
      'unavailable',
      `Could not ${doing}: the Docker Engine does not answer (${code ?? reason}). Check that dockerd runs.`,
      { cause: error },
    );
  }
  if (/could not select device driver/.test(reason)) {
    return new EngineError(
      'unsupported',
      `Could not ${doing}: Docker has no driver for GPUs. Install the NVIDIA Container Toolkit and restart dockerd.`,
      { field: 'devices', cause: error },
    );
  }
  const kind = KINDS[statusCode] ?? 'failed';
  const field = kind === 'invalid' ? FIELDS.find(([pattern]) => pattern.test(reason))?.[1] : undefined;
  return new EngineError(kind, `Could not ${doing}: ${reason}`, { field, cause: error });
}

const KINDS: Record<number, EngineError['kind']> = { 400: 'invalid', 404: 'not_found', 409: 'conflict' };

/** Docker does not name the field; its own words do. */
const FIELDS: readonly (readonly [RegExp, string])[] = [
  [/mount/i, 'mounts'],
  [/CPU/, 'cpus'],
  [/memory/i, 'memoryBytes'],
  [/working directory/i, 'cwd'],
  [/reference format/i, 'image'],
];
