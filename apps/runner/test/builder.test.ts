/** How a node claims builds and tells how they ended; what builds is a stand-in, the bus is real. */
import { ImageBuild, type FinishImageBuildRequest } from '@berth/contracts/functions/v1/images';
import { newId } from '@berth/database';
import { decodeImageLog, IMAGE_BUILDS, imageLogSubject } from '@berth/events';
import { BerthError } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { pino } from 'pino';
import { Builder } from '../src/images/builder';
import { BuildInterrupted } from '../src/images/node-images';

let bed: TestBed;
let builder: Builder;
let queue: ImageBuild[];
let claims: { nodeId: string; restarted: boolean }[];
let finished: FinishImageBuildRequest[];
let wanted: boolean;
let away: boolean;
let refused: number;
/** Builds under way, by image: what ends one. */
let building: Map<string, { done(): void; say(line: string): Promise<void> }>;

beforeAll(async () => {
  bed = await testBed();
});
afterAll(() => bed?.close());
beforeEach(() => {
  [queue, claims, finished, building] = [[], [], [], new Map()];
  [wanted, away, refused] = [true, false, 0];
  const place = { step: 1, steps: 2, stepText: 'run_commands sleep', logTail: [] };
  builder = new Builder(
    {
      claimImageBuild: async ({ nodeId, restarted }: { nodeId: string; restarted: boolean }) => {
        claims.push({ nodeId, restarted });
        return { build: queue.shift(), leaseSeconds: 1 };
      },
      renewImageBuild: async () => {
        if (!wanted) throw new BerthError('precondition', 'It is not wanted.');
        return {};
      },
      finishImageBuild: async (outcome: FinishImageBuildRequest) => {
        if (away) {
          refused++;
          throw new BerthError('unavailable', 'away');
        }
        finished.push(outcome);
        return {};
      },
    } as never,
    {
      build: ({ imageId }: ImageBuild, say: (line: string) => Promise<void>, signal: AbortSignal) =>
        new Promise<void>((resolve, reject) => {
          building.set(imageId, { done: resolve, say });
          signal.addEventListener('abort', () => reject(new BuildInterrupted(signal.reason, place)));
        }),
    } as never,
    bed.bus,
    pino({ level: 'silent' }),
  );
});
afterEach(() => builder.stop());

const aBuild = (timeoutSeconds = 60): ImageBuild =>
  ImageBuild.fromPartial({ imageId: newId('im'), workspaceId: newId('wo'), attempt: 3, timeoutSeconds });
const hint = () => bed.bus.nats.publish(IMAGE_BUILDS);

test('two are built at a time, the next when one has ended; the first claim says that the node is new', async () => {
  const builds = [aBuild(), aBuild(), aBuild()];
  queue.push(...builds);
  builder.start('no-1');
  await eventually(() => building.size === 2);
  hint();
  building.get(builds[0]!.imageId)!.done();
  await eventually(() => building.size === 3);
  expect(finished).toEqual([{ imageId: builds[0]!.imageId, attempt: 3, error: undefined }]);
  expect(claims.map(({ restarted }) => restarted)).toEqual([true, ...claims.slice(1).map(() => false)]);
});

test('a word says that there is one, and its log is there in order before its end is told', async () => {
  builder.start('no-1');
  await eventually(() => claims.length === 1);
  const build = aBuild();
  queue.push(build);
  hint();
  const { say, done } = await eventually(() => building.get(build.imageId));
  for (let line = 0; line < 1000; line++) await say(`line ${line}`);
  done();
  await eventually(() => finished.length === 1);
  const consumer = await bed.bus.jetstream.consumers.get('BERTH_LOGS', {
    filter_subjects: imageLogSubject(build),
  });
  const texts: string[] = [];
  for await (const message of await consumer.fetch({ max_messages: 1000, expires: 5000 })) {
    texts.push(decodeImageLog(message)!.text);
  }
  expect(texts).toEqual(Array.from({ length: 1000 }, (_, line) => `line ${line}`));
});

test('one that takes too long ends with the step that it was at', async () => {
  queue.push(aBuild(1));
  builder.start('no-1');
  await eventually(() => finished.length === 1);
  expect(finished[0]!.error).toMatchObject({
    type: 'timeout',
    step: 1,
    message: expect.stringContaining('run_commands sleep'),
  });
});

test('one that nobody wants any more is given up without a word', async () => {
  const build = aBuild();
  queue.push(build);
  builder.start('no-1');
  await eventually(() => building.size === 1);
  wanted = false;
  const next = aBuild();
  await eventually(() => claims.length > 2); // It has room again, and looks.
  queue.push(next);
  wanted = true;
  hint();
  await eventually(() => building.has(next.imageId));
  expect(finished).toEqual([]);
});

test('an end is told until it is heard; a runner that stops gives back what it builds', async () => {
  const [first, second] = [aBuild(), aBuild()];
  queue.push(first!, second!);
  builder.start('no-1');
  await eventually(() => building.size === 2);
  away = true;
  building.get(first!.imageId)!.done();
  await eventually(() => refused > 1);
  away = false;
  await eventually(() => finished.length === 1);
  await builder.stop();
  expect(finished).toEqual([
    { imageId: first!.imageId, attempt: 3, error: undefined },
    { imageId: second!.imageId, attempt: 3, error: expect.objectContaining({ type: 'infrastructure' }) },
  ]);
});
