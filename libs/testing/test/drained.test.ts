/** Waits for room in a stream: thousands of them share one signal. */
import { EventEmitter, getEventListeners } from 'node:events';
import { drained } from '@berth/service-kit';

const listeners = (stream: EventEmitter, signal: AbortSignal) =>
  stream.listenerCount('drain') + getEventListeners(signal, 'abort').length;

test('a wait for room leaves nothing behind, however it ends', async () => {
  const stream = new EventEmitter();
  const gone = new AbortController();
  for (let i = 0; i < 100; i++) {
    const wait = drained(stream, gone.signal);
    stream.emit('drain');
    await wait;
  }
  expect(listeners(stream, gone.signal)).toBe(0);

  const wait = drained(stream, gone.signal);
  gone.abort();
  await wait;
  expect(listeners(stream, gone.signal)).toBe(0);
  await drained(stream, gone.signal);
  expect(listeners(stream, gone.signal)).toBe(0);
});
