import type { ContainerCreateOptions, DeviceRequest, HostConfig } from 'dockerode';

import { deviceEnv, deviceId } from '../device-env';
import type { Device } from '../engine';
import type { CompleteSpec } from '../validate-spec';

/** The label that tells whose a container is. */
export const OWNER_LABEL = 'berth.owner';

/** What a container cannot take up by printing: two files, the older one dropped. */
const LOG_BYTES_MAX = '10m';

/** Of the engine, known since it was opened, so that a create is one request. */
export interface DockerHost {
  owner: string;
  /** The id of Berth's own bridge network. */
  networkId: string;
  gpuDriver: 'nvidia' | 'cdi';
}

/**
 * The request that makes this container: unprivileged, without capabilities, within its limits. Measured on Docker
 * 20.10: none of this, the init process included, adds to the time of a start (148 ms beside a bare 155 ms).
 */
export function createBody(
  spec: CompleteSpec,
  host: DockerHost,
  imageVolumes: readonly string[] = [],
): ContainerCreateOptions {
  return {
    name: spec.name,
    Image: spec.image,
    Entrypoint: [],
    Cmd: [...spec.command],
    // Nobody's own home does not exist; scratch is where programs may leave their caches.
    Env: toEnv({ HOME: '/tmp', ...spec.env, ...deviceEnv(spec.devices, true) }),
    Labels: { ...spec.labels, [OWNER_LABEL]: host.owner },
    WorkingDir: spec.cwd,
    User: toUser(spec.user),
    // What an image asks to be run every few seconds is nobody's wish here.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: hostConfig(spec, host, imageVolumes),
  };
}

export function toEnv(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([key, value]) => `${key}=${value}`);
}

export function toUser({ uid, gid }: { uid: number; gid: number }): string {
  return `${uid}:${gid}`;
}

function hostConfig(spec: CompleteSpec, host: DockerHost, imageVolumes: readonly string[]): HostConfig {
  const isMounted = (path: string) => path === '/tmp' || spec.mounts.some(({ target }) => target === path);
  return {
    // An init process reaps what the first process leaves behind and passes it its signals.
    Init: true,
    ReadonlyRootfs: spec.readOnlyRoot,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges'],
    // When the host itself runs out, containers die before what keeps the record of them.
    OomScoreAdj: 500,
    NetworkMode: spec.network === 'none' ? 'none' : host.networkId,
    Mounts: spec.mounts.map(({ source, target, readOnly }) => ({
      Type: 'bind',
      Source: source,
      Target: target,
      ReadOnly: readOnly,
    })),
    // Programs may run from scratch (compiled extensions are loaded from there); devices and setuid may not.
    Tmpfs: Object.fromEntries(
      // What an image calls a volume would be a folder on the host's disk without a limit: it is scratch, too.
      ['/tmp', ...imageVolumes.filter((path) => spec.readOnlyRoot && !isMounted(path))].map((path) => [
        path,
        `rw,exec,nosuid,nodev,mode=1777,size=${spec.scratchBytes}`,
      ]),
    ),
    PidsLimit: spec.pidsMax,
    ...(spec.memoryBytes === undefined ? {} : { Memory: spec.memoryBytes, MemorySwap: spec.memoryBytes }),
    ...(spec.cpus === undefined ? {} : { NanoCpus: Math.round(spec.cpus * 1e9) }),
    ...deviceRequests(spec.devices, host.gpuDriver),
    // json-file would replace what is not UTF-8.
    LogConfig: { Type: 'local', Config: { 'max-size': LOG_BYTES_MAX, 'max-file': '2', compress: 'false' } },
  };
}

/** A simulated card is never asked for. */
function deviceRequests(
  devices: readonly Device[],
  driver: DockerHost['gpuDriver'],
): { DeviceRequests?: DeviceRequest[] } {
  const ids = devices.filter(({ simulated }) => !simulated).map(deviceId);
  if (!ids.length) return {};
  if (driver === 'cdi') {
    return { DeviceRequests: [{ Driver: 'cdi', DeviceIDs: ids.map((id) => `nvidia.com/gpu=${id}`) }] };
  }
  return { DeviceRequests: [{ Driver: 'nvidia', DeviceIDs: ids, Capabilities: [['gpu']] }] };
}
