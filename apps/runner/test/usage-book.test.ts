import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeUsageEvent } from '@berth/events';
import { createLogger } from '@berth/service-kit';
import { UsageBook, type Holding } from '../src/usage/usage-book';

const log = createLogger('runner', 'silent');
const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000);
const holding: Holding = {
  containerId: 'ta-1',
  organizationId: 'or-1',
  workspaceId: 'wo-1',
  appId: 'ap-1',
  functionId: 'fu-1',
  nodeId: 'no-1',
  cpu: 0.5,
  memory: 256,
  gpu: ['H100'],
};

/** A stream that keeps what it is told by message id, as JetStream does; or that does not answer. */
function aStream() {
  const kept = new Map<string, Buffer>();
  const state = {
    kept,
    isUp: true,
    publish: async (_: string, payload: Uint8Array, { msgID }: { msgID: string }) => {
      if (!state.isUp) throw new Error('no stream');
      const bytes = Buffer.from(payload);
      if (kept.has(msgID)) expect(kept.get(msgID)).toEqual(bytes);
      kept.set(msgID, bytes);
      return {} as never;
    },
    intervals: () =>
      [...kept.values()]
        .map(decodeUsageEvent)
        .map(({ sequence, startedAt, endedAt, last }) => [
          sequence,
          (startedAt!.getTime() - at(0).getTime()) / 1000,
          (endedAt!.getTime() - at(0).getTime()) / 1000,
          last,
        ]),
  };
  return state;
}

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'berth-usage-'))));
afterEach(() => rmSync(folder, { recursive: true }));
const openBook = (stream: ReturnType<typeof aStream>) =>
  new UsageBook(folder, { jetstream: stream } as never, log);

test('intervals follow one another without a gap, and nothing is left behind', async () => {
  const stream = aStream();
  const book = openBook(stream);
  book.open(holding, at(0));
  book.cutAll(at(60));
  book.cutAll(at(60)); // Nothing passed: nothing to bill.
  book.cutAll(at(120));
  book.close('ta-1', at(130));
  book.close('ta-1', at(140)); // The first word counts.
  await book[Symbol.asyncDispose]();
  expect(stream.intervals()).toEqual([
    [0, 0, 60, false],
    [1, 60, 120, false],
    [2, 120, 130, true],
  ]);
  expect(readdirSync(folder)).toEqual([]);
});

test('what could not be sent is sent by the next process, under the same numbers', async () => {
  const stream = aStream();
  stream.isUp = false;
  const first = openBook(stream);
  first.open(holding, at(0));
  first.cutAll(at(60));
  first.close('ta-1', at(70));
  await first[Symbol.asyncDispose]();
  expect(stream.intervals()).toEqual([]);

  stream.isUp = true;
  await openBook(stream)[Symbol.asyncDispose]();
  expect(stream.intervals()).toEqual([
    [0, 0, 60, false],
    [1, 60, 70, true],
  ]);
  expect(readdirSync(folder)).toEqual([]);
});

test('a process that dies leaves its containers open, and the next closes them where they ended', async () => {
  const stream = aStream();
  openBook(stream).open(holding, at(0)); // And is killed.
  const dying = openBook(stream);
  dying.cutAll(at(60));
  await dying[Symbol.asyncDispose]();

  const next = openBook(stream);
  expect(next.openContainers()).toEqual([{ containerId: 'ta-1', lastSeenAt: at(60) }]);
  next.close('ta-1', at(75));
  await next[Symbol.asyncDispose]();
  expect(stream.intervals()).toEqual([
    [0, 0, 60, false],
    [1, 60, 75, true],
  ]);
});

test('one that never ran is not billed, and a clock that was set back takes nothing back', async () => {
  const stream = aStream();
  const book = openBook(stream);
  book.open(holding, at(0));
  book.discard('ta-1');
  expect(readdirSync(folder)).toEqual([]);

  book.open(holding, at(10));
  book.close('ta-1', at(5));
  await book[Symbol.asyncDispose]();
  expect(stream.intervals()).toEqual([[0, 10, 10, true]]);
});

test('one whose beginning the disk does not take is not billed, then or later', async () => {
  const stream = aStream();
  const book = openBook(stream);
  // Where the page is written first: nothing can be put there, as on a full disk.
  mkdirSync(join(folder, 'ta-1.json.part'));
  expect(() => book.open(holding, at(0))).toThrow();
  expect(book.openContainers()).toEqual([]);
  book.cutAll(at(60));
  await book[Symbol.asyncDispose]();
  expect(stream.intervals()).toEqual([]);
});
