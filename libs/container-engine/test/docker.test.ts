import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Docker from 'dockerode';

import { ensureBaseImages } from '../src';
import { describeEngine } from './conformance';

beforeAll(async () => {
  const cacheDir = join(tmpdir(), 'berth-base-image-cache');
  await ensureBaseImages(new Docker(), { log: () => undefined, cacheDir });
}, 240_000);

describeEngine('docker');
