import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { ensureBaseImages } from '@berth/container-engine';
import { describeRunner } from './behaviour';

// Where there is no Docker Engine there is nothing to try on.
const isThere = process.env.DOCKER_HOST || existsSync('/var/run/docker.sock');

(isThere ? describe : describe.skip)('on docker', () => {
  beforeAll(async () => {
    const cacheDir = join(tmpdir(), 'berth-base-image-cache');
    await ensureBaseImages(new Docker(), { log: () => undefined, cacheDir });
  }, 240_000);

  describeRunner('docker');
});
