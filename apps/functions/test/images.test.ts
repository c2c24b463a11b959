/** Images as callers and runners see them: asked for, claimed, built once, failed, lost; peers are stand-ins. */
import {
  CreateImageRequest,
  ImageDefinition,
  ImagesServiceService,
  ImageState,
  ListImagesRequest,
  StreamImageLogsRequest,
  type ImageBuild,
  type ImageError,
} from '@berth/contracts/functions/v1/images';
import {
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionsServiceService,
  InvocationStatus,
  Runtime,
  SpawnFunctionRequest,
} from '@berth/contracts/functions/v1/functions';
import { newId, type Database } from '@berth/database';
import { encodeImageLog } from '@berth/events';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { functions } from '../src/service';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

let bed: TestBed;
let db: Database;
let client: ClientOf<typeof ImagesServiceService>;
let apps: ClientOf<typeof FunctionsServiceService>;
let runner: ClientOf<typeof ImagesServiceService>;
let owner: CallContext;
const scheduler = new SchedulerStandIn(() => bed);

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(syncStandIn());
  await bed.start(scheduler.module);
  await bed.start(functions);
  db = await bed.database(functions);
  client = bed.connect(ImagesServiceService, 'functions', 'gateway');
  apps = bed.connect(FunctionsServiceService, 'functions', 'gateway');
  runner = bed.connect(ImagesServiceService, 'functions', 'runner');
  owner = await bed.caller();
});
afterAll(() => bed?.close());
afterEach(async () => {
  await db.query('DELETE FROM image');
  scheduler.engines = ['docker'];
});

const NODE = newId('no');
const step = (name: string) => ({
  step: { $case: 'runCommands' as const, value: { commands: [`echo ${name}`] } },
});
const aDefinition = (name: string) => ImageDefinition.fromPartial({ steps: [step(name)] });
const ask = async (definition: ImageDefinition, caller = owner) =>
  (await client.createImage(CreateImageRequest.fromPartial({ definition }), { for: caller })).image!;
const get = async (imageId: string) => (await client.getImage({ imageId }, { for: owner })).image!;
const claim = async (restarted = false) => (await runner.claimImageBuild({ nodeId: NODE, restarted })).build;
const finish = ({ imageId, attempt }: ImageBuild, error?: Partial<ImageError>) =>
  runner.finishImageBuild({
    imageId,
    attempt,
    error: error && {
      type: 'build_failed',
      message: 'no',
      step: 0,
      stepText: 'RUN',
      logTail: ['x'],
      ...error,
    },
  });
const expire = (imageId: string) =>
  db.query(`UPDATE image SET lease_until = now() - interval '1 second' WHERE id = $1`, [imageId]);

test('of a hundred callers at once one has it built, and all get that image', async () => {
  const images = await Promise.all(Array.from({ length: 100 }, () => ask(aDefinition('once'))));
  expect(new Set(images.map(({ imageId }) => imageId)).size).toBe(1);
  const builds = await Promise.all(Array.from({ length: 10 }, () => claim()));
  expect(builds.filter(Boolean)).toHaveLength(1);
  await finish(builds.find(Boolean)!);
  expect(await ask(aDefinition('once'))).toMatchObject({
    imageId: images[0]!.imageId,
    state: ImageState.IMAGE_STATE_READY,
    attempts: 1,
  });
  expect(await claim()).toBeUndefined();
});

test('files given here are a tree, so the same text is the same image', async () => {
  const withFile = (text: string) =>
    ImageDefinition.fromPartial({ containerfile: 'FROM debian:12\nCOPY a /', files: { a: text } });
  const [one, same, other] = [await ask(withFile('1')), await ask(withFile('1')), await ask(withFile('2'))];
  expect(same!.imageId).toBe(one!.imageId);
  expect(other!.imageId).not.toBe(one!.imageId);
  expect(one!.definition).toMatchObject({ files: {}, context: expect.stringMatching(/^tr-/) });
});

test('images are of their workspace', async () => {
  const stranger = await bed.caller();
  const mine = await ask(aDefinition('mine'));
  expect((await ask(aDefinition('mine'), stranger)).imageId).not.toBe(mine.imageId);
  const { imageId } = mine;
  const foreign = { kind: 'not_found' };
  await expect(client.getImage({ imageId }, { for: stranger })).rejects.toMatchObject(foreign);
  await expect(client.deleteImage({ imageId }, { for: stranger })).rejects.toMatchObject(foreign);
  await expect(lines(imageId, false, stranger)).rejects.toMatchObject(foreign);
  await expect(
    runner.getImageBuild({
      imageId,
      workspaceId: stranger.principal.kind === 'user' ? stranger.principal.workspaceId! : '',
    }),
  ).rejects.toMatchObject(foreign);
  const { data } = await client.listImages(ListImagesRequest.fromPartial({}), { for: stranger });
  expect(data.map((each) => each.imageId)).not.toContain(imageId);
  await expect(aFunction(imageId, stranger)).rejects.toMatchObject({ kind: 'not_found', field: 'image' });
});

test('what is wrong is said by field, before any effect', async () => {
  await expect(ask(ImageDefinition.fromPartial({ base: 'cafe' }))).rejects.toMatchObject({ field: 'base' });
  await expect(ask(ImageDefinition.fromPartial({ steps: [{}] }))).rejects.toMatchObject({
    field: 'steps[0]',
  });
  const foreignTree = { step: { $case: 'copy' as const, value: { tree: newId('tr'), to: '/x' } } };
  await expect(ask(ImageDefinition.fromPartial({ steps: [foreignTree] }))).rejects.toMatchObject({
    kind: 'not_found',
    field: 'steps[0].copy.tree',
  });
  const withSecret = (registrySecret: string, environment = '') =>
    ask(ImageDefinition.fromPartial({ base: 'debian:12', registrySecret, environment }));
  await expect(withSecret('prod')).rejects.toMatchObject({ kind: 'not_found', field: 'registry_secret' });
  await expect(withSecret('prod', 'nowhere')).rejects.toMatchObject({ field: 'environment' });
  expect(await claim()).toBeUndefined();
  expect((await withSecret('main')).definition).toMatchObject({
    registrySecret: 'main',
    environment: 'main',
  });
});

test('nodes without containers build nothing, and say so', async () => {
  scheduler.engines = ['process'];
  await expect(ask(aDefinition('nowhere'))).rejects.toMatchObject({
    kind: 'precondition',
    message: expect.stringContaining('BERTH_ENGINE=process'),
  });
  scheduler.engines = ['process', 'docker'];
  await ask(aDefinition('nowhere'));
});

test('a failed build tells what failed; asked for again it is built again', async () => {
  const { imageId } = await ask(aDefinition('fails'));
  await finish((await claim())!, { message: 'exit code 3', step: 0, stepText: 'echo fails\0' });
  const failed = await get(imageId);
  expect(failed.state).toBe(ImageState.IMAGE_STATE_FAILED);
  expect(failed.error).toMatchObject({
    message: 'exit code 3',
    step: 0,
    stepText: 'echo fails\ufffd',
    logTail: ['x'],
  });
  await expect(aFunction(imageId)).rejects.toMatchObject({ kind: 'precondition', field: 'image' });

  const again = await ask(aDefinition('fails'));
  expect(again).toMatchObject({ imageId, state: ImageState.IMAGE_STATE_BUILDING, error: undefined });
  const build = (await claim())!;
  expect(build.attempt).toBe(2);
  await finish(build);
  expect((await get(imageId)).state).toBe(ImageState.IMAGE_STATE_READY);
});

test('a build whose runner went silent is another one’s; what the first says then is stale', async () => {
  const { imageId } = await ask(aDefinition('lost'));
  const first = (await claim())!;
  expect(await claim()).toBeUndefined();
  await expire(imageId);
  const second = (await claim())!;
  expect(second).toMatchObject({ imageId, attempt: 2 });
  await expect(runner.renewImageBuild({ imageId, attempt: 1 })).rejects.toMatchObject({
    kind: 'precondition',
  });
  await finish(first, { message: 'late' });
  expect((await get(imageId)).state).toBe(ImageState.IMAGE_STATE_BUILDING);
  await runner.renewImageBuild({ imageId, attempt: 2 });
  await finish(second);
  await finish(second, { message: 'a repeat is no second outcome' });
  expect((await get(imageId)).state).toBe(ImageState.IMAGE_STATE_READY);
});

test('a runner that starts again builds at once what its node had begun', async () => {
  const { imageId } = await ask(aDefinition('restarted'));
  await claim();
  expect(await claim(true)).toMatchObject({ imageId, attempt: 2 });
});

test('a runner that gives a build back twice gives it back once', async () => {
  const { imageId } = await ask(aDefinition('given back'));
  const build = (await claim())!;
  await finish(build, { type: 'infrastructure' });
  await finish(build, { type: 'infrastructure' }); // Its answer was lost.
  expect(await claim()).toMatchObject({ imageId, attempt: 2 });
});

test('one that is lost again and again ends as a failure', async () => {
  const { imageId } = await ask(aDefinition('poison'));
  await finish((await claim())!, { type: 'infrastructure' }); // The runner stops, and gives it back.
  for (let round = 0; round < 2; round++) {
    expect(await claim()).toMatchObject({ imageId });
    await expire(imageId);
  }
  expect(await claim()).toBeUndefined();
  const failed = await eventually(async () => {
    const image = await get(imageId);
    return image.state === ImageState.IMAGE_STATE_FAILED && image;
  });
  expect(failed.error).toMatchObject({ type: 'infrastructure' });
});

test('a build that takes too long is not renewed', async () => {
  const { imageId } = await ask(aDefinition('slow'));
  const { attempt } = (await claim())!;
  await db.query(`UPDATE image SET started_at = now() - interval '2 hours' WHERE id = $1`, [imageId]);
  await expect(runner.renewImageBuild({ imageId, attempt })).rejects.toMatchObject({ kind: 'precondition' });
});

test('a workspace with many builds lets others in', async () => {
  const other = await bed.caller();
  for (const name of ['a', 'b', 'c']) await ask(aDefinition(name));
  const late = await ask(aDefinition('d'), other);
  await claim();
  expect(await claim()).toMatchObject({ imageId: late.imageId });
});

const aFunction = async (image: string, caller = owner) => {
  const { app } = await apps.createApp(CreateAppRequest.fromPartial({ name: `app-${newId('ev')}` }), {
    for: caller,
  });
  const { function: made } = await apps.createFunction(
    CreateFunctionRequest.fromPartial({
      appId: app!.appId,
      name: 'run',
      runtime: Runtime.RUNTIME_PYTHON,
      handler: 'main:run',
      files: { 'main.py': 'def run(): pass' },
      image,
    }),
    { for: caller },
  );
  return made!;
};
const spawn = async (functionId: string) =>
  (await apps.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId }), { for: owner })).functionCall!
    .callId;
const getCall = async (callId: string) =>
  (await apps.getFunctionCall({ callId }, { for: owner })).functionCall!;

test('a function waits for its image, says so, and gets containers when it is there', async () => {
  const { imageId } = await ask(aDefinition('awaited'));
  const { functionId } = await aFunction(imageId);
  const callId = await spawn(functionId);
  expect((await getCall(callId)).waiting).toContain(`${imageId} waits for a node`);
  const build = (await claim())!;
  expect((await getCall(callId)).waiting).toContain(`${imageId} is being built`);
  expect(scheduler.wishOf(functionId)).toBeUndefined();
  await expect(client.deleteImage({ imageId }, { for: owner })).rejects.toMatchObject({
    kind: 'precondition',
  });

  await finish(build);
  const wish = await eventually(() => scheduler.wishOf(functionId));
  expect(wish).toMatchObject({ containers: 1, spec: { image: imageId } });
});

test('calls of a function whose image cannot be built end with that', async () => {
  const { imageId } = await ask(aDefinition('hopeless'));
  const { functionId } = await aFunction(imageId);
  const callId = await spawn(functionId);
  await finish((await claim())!, { message: 'step 1 failed' });
  const call = await eventually(async () => {
    const seen = await getCall(callId);
    return seen.status === InvocationStatus.INVOCATION_STATUS_FAILURE && seen;
  });
  expect(call.error).toMatchObject({
    type: 'image_failed',
    message: expect.stringContaining('step 1 failed'),
  });
});

test('an image that nobody uses can be deleted, and its build is over', async () => {
  const { imageId } = await ask(aDefinition('gone'));
  const { attempt } = (await claim())!;
  await client.deleteImage({ imageId }, { for: owner });
  await expect(get(imageId)).rejects.toMatchObject({ kind: 'not_found' });
  await expect(runner.renewImageBuild({ imageId, attempt })).rejects.toMatchObject({ kind: 'precondition' });
});

test('containers of a stopped app keep its image, and go although it is gone', async () => {
  const { imageId } = await ask(aDefinition('outlived'));
  const { appId, functionId } = await aFunction(imageId);
  await finish((await claim())!);
  await spawn(functionId);
  await eventually(() => scheduler.wishOf(functionId)?.containers === 1);
  scheduler.away = true;
  try {
    await db.query('UPDATE app SET stopped_at = now(), state = $2 WHERE id = $1', [appId, 'stopped']);
    await expect(client.deleteImage({ imageId }, { for: owner })).rejects.toMatchObject({
      kind: 'precondition',
    });
    await db.query('DELETE FROM image WHERE id = $1', [imageId]);
  } finally {
    scheduler.away = false;
  }
  await eventually(() => scheduler.wishOf(functionId)?.containers === 0);
});

const print = async (imageId: string, attempt: number, ...texts: string[]) => {
  const { workspaceId } = owner.principal as { workspaceId: string };
  for (const text of texts) {
    const line = encodeImageLog({ workspaceId, imageId, attempt, time: new Date(), text, end: false });
    await bed.bus.jetstream.publish(line.subject, line.data, { headers: line.headers });
  }
};
const lines = async (imageId: string, follow: boolean, caller = owner, found: string[] = []) => {
  const stream = client.streamImageLogs(StreamImageLogsRequest.fromPartial({ imageId, follow }), {
    for: caller,
  });
  for await (const { text } of stream) found.push(text);
  return found;
};

test('a log is history, then live, until the build ends; over a runner that is lost', async () => {
  const { imageId } = await ask(aDefinition('told'));
  expect(await lines(imageId, false)).toEqual([]);
  const seen: string[] = [];
  const waiting = lines(imageId, true, owner, seen);
  await claim();
  await print(imageId, 1, 'one', 'two');
  expect(await lines(imageId, false)).toEqual(['one', 'two']);
  const joined: string[] = [];
  const following = lines(imageId, true, owner, joined);
  await eventually(() => seen.length === 2 && joined.length === 2);
  await expire(imageId);
  const second = (await claim())!;
  await print(imageId, 2, 'three');
  await finish(second, { message: 'no' });
  expect(await following).toEqual(['one', 'two', 'three']);
  expect(await waiting).toEqual(['one', 'two', 'three']);
  expect(await lines(imageId, true)).toEqual(['three']); // The last build's alone.

  await ask(aDefinition('told'));
  const again = lines(imageId, true);
  const third = (await claim())!;
  await print(imageId, 3, 'anew');
  await finish(third);
  expect(await again).toEqual(['anew']);
});
