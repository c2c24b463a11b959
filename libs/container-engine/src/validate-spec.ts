import { isAbsolute } from 'node:path';

import { EngineError, type ContainerSpec, type Device, type ExecRequest } from './engine';

const MEMORY_BYTES_MIN = 6 * 1024 * 1024; // Docker refuses less.
const CPUS_MIN = 0.01;
const SCRATCH_BYTES_DEFAULT = 64 * 1024 * 1024;
const PIDS_MAX_DEFAULT = 1024;
const NOBODY = { uid: 65534, gid: 65534 };

/** A spec with nothing left out but what has no default. */
export type CompleteSpec = Required<Omit<ContainerSpec, 'memoryBytes' | 'cpus'>> &
  Pick<ContainerSpec, 'memoryBytes' | 'cpus'>;

/** Fills in the defaults. Throws `invalid` with the field at fault for what no engine could run. */
export function completeSpec(spec: ContainerSpec): CompleteSpec {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(spec.name)) {
    throw invalid(
      'name',
      'must be 1 to 128 letters, digits, "_", "." or "-", and start with a letter or digit',
    );
  }
  if (!/^[a-z0-9][\w.\-/:@]{0,254}$/i.test(spec.image)) throw invalid('image', 'is not an image reference');
  checkCommand(spec.command);
  checkEnv(spec.env);
  if (spec.cwd !== undefined) checkPath('cwd', spec.cwd);
  checkUser(spec.user);
  for (const [key, value] of Object.entries(spec.labels ?? {})) {
    if (key === '' || hasNul(key) || hasNul(value)) throw invalid('labels', 'need names that are not empty');
  }

  const targets = new Set<string>();
  for (const [index, { source, target }] of (spec.mounts ?? []).entries()) {
    checkPath(`mounts[${index}].source`, source);
    checkPath(`mounts[${index}].target`, target);
    if (target === '/') throw invalid(`mounts[${index}].target`, 'cannot be the root folder');
    if (targets.has(target)) throw invalid(`mounts[${index}].target`, `${target} is mounted twice`);
    targets.add(target);
  }

  checkNumber('memoryBytes', spec.memoryBytes, MEMORY_BYTES_MIN, { whole: true });
  checkNumber('cpus', spec.cpus, CPUS_MIN);
  checkNumber('pidsMax', spec.pidsMax, 1, { whole: true });
  checkNumber('scratchBytes', spec.scratchBytes, 4096, { whole: true });
  checkDevices(spec.devices ?? []);
  if (spec.network !== undefined && spec.network !== 'bridge' && spec.network !== 'none') {
    throw invalid('network', 'must be "bridge" or "none"');
  }

  return {
    env: {},
    labels: {},
    mounts: [],
    cwd: '/tmp',
    user: NOBODY,
    pidsMax: PIDS_MAX_DEFAULT,
    devices: [],
    network: 'bridge',
    readOnlyRoot: true,
    scratchBytes: SCRATCH_BYTES_DEFAULT,
    ...withoutUndefined(spec),
  };
}

/** Throws `invalid` with the field at fault. */
export function checkExec(request: ExecRequest): void {
  checkCommand(request.command);
  checkEnv(request.env);
  if (request.cwd !== undefined) checkPath('cwd', request.cwd);
  checkUser(request.user);
  checkTerminalSize(request.columns, request.rows);
}

/** Throws `invalid` for a size no terminal has. */
export function checkTerminalSize(columns: number | undefined, rows: number | undefined): void {
  checkNumber('columns', columns, 1, { whole: true, max: 65_535 });
  checkNumber('rows', rows, 1, { whole: true, max: 65_535 });
}

function checkCommand(command: readonly string[]): void {
  if (!Array.isArray(command) || !command[0]) throw invalid('command', 'needs a program to run');
  if (command.some((word) => typeof word !== 'string' || hasNul(word))) {
    throw invalid('command', 'must be strings without NUL');
  }
}

function checkEnv(env: Readonly<Record<string, string>> | undefined): void {
  for (const [key, value] of Object.entries(env ?? {})) {
    // The message names the variable but never its value, which may be a secret.
    if (!/^[^=\0]+$/.test(key)) throw invalid('env', 'has a name that is empty or holds "=" or NUL');
    if (typeof value !== 'string' || hasNul(value)) {
      throw invalid(`env.${key}`, 'must be a string without NUL');
    }
  }
}

function checkUser(user: { uid: number; gid: number } | undefined): void {
  if (!user) return;
  checkNumber('user.uid', user.uid, 0, { whole: true, max: 2 ** 32 - 2 });
  checkNumber('user.gid', user.gid, 0, { whole: true, max: 2 ** 32 - 2 });
}

function checkPath(field: string, path: string): void {
  if (!isAbsolute(path) || hasNul(path) || path.split('/').includes('..')) {
    throw invalid(field, 'must be an absolute path without ".."');
  }
}

function checkDevices(devices: readonly Device[]): void {
  for (const [index, device] of devices.entries()) {
    checkNumber(`devices[${index}].index`, device.index, 0, { whole: true });
    if (device.uuid !== undefined && !/^[\w-]+$/.test(device.uuid)) {
      throw invalid(`devices[${index}].uuid`, 'must be letters, digits and hyphens');
    }
  }
  if (new Set(devices.map(({ simulated }) => simulated)).size > 1) {
    throw invalid('devices', 'cannot mix real and simulated cards in one container');
  }
  if (new Set(devices.map(({ index }) => index)).size < devices.length) {
    throw invalid('devices', 'name a card twice');
  }
}

function checkNumber(
  field: string,
  value: number | undefined,
  min: number,
  { whole = false, max = Number.MAX_SAFE_INTEGER } = {},
): void {
  if (value === undefined) return;
  if (!Number.isFinite(value) || value < min || value > max || (whole && !Number.isInteger(value))) {
    const upTo = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`;
    throw invalid(field, `must be a ${whole ? 'whole ' : ''}number, ${upTo}; it is ${value}`);
  }
}

function hasNul(text: string): boolean {
  return text.includes('\0');
}

function invalid(field: string, problem: string): EngineError {
  return new EngineError('invalid', `${field} ${problem}.`, { field });
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as T;
}
