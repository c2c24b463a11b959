import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { BASE_IMAGE, openEngine } from '../src';
import { describeEngine } from './conformance';

describeEngine('process');

test('of many that are stopped as soon as they have started, none misses the signal', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'berth-stop-'));
  await using engine = await openEngine('process', { stateDir });
  const startAndStop = async () => {
    const name = randomBytes(8).toString('hex');
    const id = await engine.create({ name, image: BASE_IMAGE, command: ['sleep', '600'] });
    await engine.start(id);
    await engine.stop(id, 300);
    const { signal } = await engine.wait(id);
    await engine.remove(id);
    return signal;
  };
  const signals = [];
  for (let round = 0; round < 10; round++) {
    signals.push(...(await Promise.all(Array.from({ length: 20 }, startAndStop))));
  }
  expect(signals).toEqual(Array<string>(200).fill('SIGTERM'));
  await rm(stateDir, { recursive: true, force: true });
});
