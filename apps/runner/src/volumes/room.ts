import { statfs } from 'node:fs/promises';
import { BerthError } from '@berth/service-kit';

/** Sees to it that volumes leave a part of the node's disk free, for all else that lives on it. */
export interface Room {
  /** Errors: `exhausted` where so many bytes more would leave less than the reserve. */
  check(bytes: number): Promise<void>;
}

/**
 * Of the disk that `folder` is on. Files count with their size, whether or not they have holes: a container may fill
 * these. It reserves nothing: of two that ask at once, both may be told that there is room.
 */
export const roomOn = (folder: string, reserveBytes: number): Room => ({
  async check(bytes) {
    if (bytes === 0) return;
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    if (bytes + reserveBytes <= free) return;
    throw new BerthError(
      'exhausted',
      `The node's disk has no room for ${mib(bytes)} MiB of files: ${mib(free)} MiB are free, and ${mib(reserveBytes)} MiB stay so.`,
    );
  },
});

const mib = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);
