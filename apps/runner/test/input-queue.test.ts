/** The queue of inputs, on a real JetStream. */
import { newId } from '@berth/database';
import { encodeInput } from '@berth/events';
import { createLogger } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { openInputQueue, type InputQueue } from '../src/queue/input-queue';

let bed: TestBed;
let queue: InputQueue;
beforeAll(async () => {
  bed = await testBed();
  queue = openInputQueue(bed.bus, createLogger('test', 'silent'));
});
afterAll(async () => {
  await queue?.[Symbol.asyncDispose]();
  await bed?.close();
});

const publish = (functionId: string, inputId: string, attempt: number) => {
  const { subject, headers, data } = encodeInput({
    inputId,
    callId: newId('fc'),
    functionId,
    version: 1,
    attempt,
    format: 'json',
    acceptedAt: Date.now(),
    traceparent: '',
    payload: Buffer.from('{}'),
  });
  return bed.bus.jetstream.publish(subject, data, { headers });
};
const queued = async (functionId: string) => {
  const { state } = await bed.bus.manager.streams.info('BERTH_INPUTS', {
    subjects_filter: `berth.inputs.${functionId}.>`,
  });
  return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
};

test('a retry that comes while the attempt before it is held is a message of its own', async () => {
  const [functionId, inputId] = [newId('fu'), newId('in')];
  const [one, other] = [queue.openSlot(functionId, 1), queue.openSlot(functionId, 1)];
  await publish(functionId, inputId, 1);
  const first = (await one.pull())!;
  await publish(functionId, inputId, 2);
  const second = (await other.pull())!;
  expect([first, second].map(({ headers }) => headers?.get('Berth-Attempt'))).toEqual(['1', '2']);

  first.ack();
  await eventually(async () => (await queued(functionId)) === 1);
  second.ack();
  await eventually(async () => (await queued(functionId)) === 0);
  await Promise.all([one.close(), other.close()]);
});

test('what arrives when nobody wants it any more is given back, and is for the next', async () => {
  const [functionId, inputId] = [newId('fu'), newId('in')];
  const [one, other] = [queue.openSlot(functionId, 1), queue.openSlot(functionId, 1)];
  const pulled = one.pull();
  await one.close();
  expect(await pulled).toBeUndefined();
  await publish(functionId, inputId, 1);
  const message = (await other.pull())!;
  expect(message.headers?.get('Berth-Input')).toBe(inputId);
  message.ack();
  await other.close();
});

test('a queue that was taken away while nobody used it is there again for the next container', async () => {
  const functionId = newId('fu');
  const before = queue.openSlot(functionId, 1);
  await publish(functionId, newId('in'), 1);
  (await before.pull())!.ack();
  await before.close();
  await eventually(async () => (await queued(functionId)) === 0);
  await bed.bus.manager.consumers.delete('BERTH_INPUTS', `${functionId}-1`);

  const after = queue.openSlot(functionId, 1);
  const pulled = after.pull();
  await publish(functionId, newId('in'), 1);
  (await pulled)!.ack();
  await after.close();
});
