import type { Device } from './engine';

/**
 * What a container's processes are told of their cards. Goes over the user's own variables: with NVIDIA's runtime
 * as a host's default, `NVIDIA_VISIBLE_DEVICES=all` in an image or a user's variable would attach every card, and
 * without isolation `CUDA_VISIBLE_DEVICES` is all that keeps a process from its neighbour's.
 */
export function deviceEnv(devices: readonly Device[], isolated: boolean): Record<string, string> {
  const real = devices.filter(({ simulated }) => !simulated).map(deviceId);
  const simulated = devices.filter((device) => device.simulated).map(({ index }) => String(index));
  return {
    NVIDIA_VISIBLE_DEVICES: real.join(',') || 'void',
    // In a container with cards of its own everything visible is its own, so the user may narrow it down.
    ...(real.length && isolated ? {} : { CUDA_VISIBLE_DEVICES: real.join(',') }),
    ...(simulated.length ? { BERTH_SIMULATED_GPU: simulated.join(',') } : {}),
  };
}

/** How NVIDIA's tools name the card. */
export function deviceId({ uuid, index }: Device): string {
  return uuid ?? String(index);
}
