/** What holds for a call from one service to another, by whichever road it goes. */
import { setTimeout as delay } from 'node:timers/promises';
import {
  FunctionsServiceService,
  GetAppRequest,
  GetAppResponse,
  StreamLogsRequest,
  StreamLogsResponse,
  type AttachRunnerResponse,
} from '@berth/contracts/functions/v1/functions';
import {
  BerthError,
  connect,
  defineService,
  implement,
  openTokens,
  userOf,
  type ClientOf,
} from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';

const { getApp, streamLogs, attachRunner } = FunctionsServiceService;
const contract = { getApp, streamLogs, attachRunner };

const LARGE = 33 * 1024 * 1024;

export function describeCalls(road: string): void {
  describe(`a call ${road}`, () => {
    let bed: TestBed;
    let client: ClientOf<typeof contract>;
    let stop: () => Promise<void>;
    /** What the handlers saw. */
    const seen = { aborted: 0, sent: 0, streamsEnded: 0, linesEnded: 0 };
    const apps = new Map([
      ['ap-1', GetAppResponse.fromPartial({ app: { appId: 'ap-1', tags: { a: '1' } } })],
    ]);

    const service = defineService('functions', async () => ({
      services: [
        implement(contract, {
          getApp: async ({ appId }, call) => {
            if (appId === 'ap-wait') {
              await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
              seen.aborted++;
            }
            if (appId === 'ap-bug') throw new TypeError('secret detail');
            if (appId === 'ap-large') return GetAppResponse.fromPartial({ app: { name: 'x'.repeat(LARGE) } });
            if (appId === 'ap-me') return GetAppResponse.fromPartial({ app: { name: userOf(call).userId } });
            const found = apps.get(appId);
            if (!found) throw new BerthError('not_found', 'No such app.', { field: 'app_id' });
            return found;
          },
          async *streamLogs({ appId }) {
            try {
              for (let line = 0; appId === 'ap-endless' || line < 3; line++) {
                seen.sent++;
                yield StreamLogsResponse.fromPartial({
                  text: `${line}`.padEnd(appId === 'ap-endless' ? 10_000 : 0),
                });
              }
              if (appId === 'ap-breaks') throw new BerthError('precondition', 'It broke.');
            } finally {
              seen.streamsEnded++;
            }
          },
          attachRunner: (stream, call) =>
            new Promise((resolve, reject) => {
              stream.on('data', ({ sequence }: { sequence: bigint }) => {
                if (sequence === 0n)
                  return reject(new BerthError('invalid', 'Not zero.', { field: 'sequence' }));
                stream.write({ message: { $case: 'verdict', value: { sequence, verdict: 1, attempt: 0 } } });
              });
              stream.on('end', resolve);
              call.signal.addEventListener('abort', () => {
                seen.linesEnded++;
                resolve();
              });
            }),
        }),
      ],
      async [Symbol.asyncDispose]() {},
    }));

    beforeAll(async () => {
      bed = await testBed();
      const running = await bed.start(service);
      stop = async () => running[Symbol.asyncDispose]();
      client = connect(contract, running.address, openTokens('runner', bed.env.BERTH_KEYS_DIR!));
    });
    afterAll(async () => {
      client?.close();
      await bed?.close();
    });

    const app = (appId: string) => GetAppRequest.fromPartial({ appId });
    const logs = (appId: string) => StreamLogsRequest.fromPartial({ appId });

    test('is answered in the name of its caller', async () => {
      const caller = await bed.caller({ userId: 'us-somebody' });
      expect((await client.getApp(app('ap-me'), { for: caller })).app!.name).toBe('us-somebody');
    });

    test('comes to the gate like any other', async () => {
      await expect(client.getApp(app('ap-1'))).rejects.toMatchObject({ kind: 'denied' });
    });

    test('gives what is its own to change', async () => {
      const caller = await bed.caller();
      const first = await client.getApp(app('ap-1'), { for: caller });
      first.app!.tags.a = 'changed';
      expect((await client.getApp(app('ap-1'), { for: caller })).app!.tags).toEqual({ a: '1' });
    });

    test('fails as its handler says, and says nothing of a bug', async () => {
      const caller = await bed.caller();
      await expect(client.getApp(app('ap-none'), { for: caller })).rejects.toMatchObject({
        kind: 'not_found',
        field: 'app_id',
        message: 'No such app.',
      });
      const failure = await client.getApp(app('ap-bug'), { for: caller }).catch((error: BerthError) => error);
      expect(failure).toMatchObject({ kind: 'internal', message: expect.not.stringContaining('secret') });
    });

    test('ends at its deadline, and its handler hears of it', async () => {
      const caller = await bed.caller();
      const before = seen.aborted;
      await expect(client.getApp(app('ap-wait'), { for: caller, timeoutMs: 2_000 })).rejects.toMatchObject({
        kind: 'timeout',
      });
      await eventually(() => seen.aborted === before + 1);
    });

    test('ends when its caller goes, and its handler hears of it', async () => {
      const caller = await bed.caller();
      const before = seen.aborted;
      const gone = new AbortController();
      const asked = client.getApp(app('ap-wait'), { for: caller, signal: gone.signal });
      const ended = expect(asked).rejects.toMatchObject({ kind: 'cancelled' });
      await client.getApp(app('ap-1'), { for: caller }); // By now the one before it has begun.
      gone.abort();
      await ended;
      await eventually(() => seen.aborted === before + 1);
    });

    test('is not made for a caller that has gone already', async () => {
      const caller = await bed.caller();
      const options = { for: caller, signal: AbortSignal.abort() };
      await expect(client.getApp(app('ap-wait'), options)).rejects.toMatchObject({ kind: 'cancelled' });
      const sent = seen.sent;
      for await (const _ of client.streamLogs(logs('ap-endless'), options)) throw new Error('nobody asked');
      expect(seen.sent).toBe(sent);
    });

    test('does not carry a message that is too large', async () => {
      const caller = await bed.caller();
      await expect(client.getApp(app('ap-large'), { for: caller })).rejects.toMatchObject({
        kind: 'exhausted',
      });
    });

    test('streams in order, to the end', async () => {
      const caller = await bed.caller();
      const texts: string[] = [];
      for await (const { text } of client.streamLogs(logs('ap-1'), { for: caller })) texts.push(text);
      expect(texts).toEqual(['0', '1', '2']);
    });

    test('streams until it breaks, and then says why', async () => {
      const caller = await bed.caller();
      const texts: string[] = [];
      const read = async () => {
        for await (const { text } of client.streamLogs(logs('ap-breaks'), { for: caller })) texts.push(text);
      };
      await expect(read()).rejects.toMatchObject({ kind: 'precondition', message: 'It broke.' });
    });

    test('holds up who sends while nobody reads, and ends it when the reader has had enough', async () => {
      const caller = await bed.caller();
      const [sent, ended] = [seen.sent, seen.streamsEnded];
      for await (const { text } of client.streamLogs(logs('ap-endless'), { for: caller })) {
        if (text.trim() === '0') continue;
        // It would send for ever: what is looked at is that it does not.
        const stands = async () => {
          const before = seen.sent;
          await delay(50);
          return seen.sent === before;
        };
        await eventually(stands);
        break;
      }
      await eventually(() => seen.streamsEnded === ended + 1);
      expect(seen.sent - sent).toBeLessThan(2000);
    });

    test('goes both ways until its caller ends it', async () => {
      const line = await client.attachRunner();
      const said: bigint[] = [];
      line.on('data', ({ message }: AttachRunnerResponse) => {
        if (message?.$case === 'verdict') said.push(message.value.sequence);
      });
      for (const sequence of [1n, 2n, 3n]) line.write({ sequence, message: undefined });
      await eventually(() => said.length === 3);
      const over = new Promise((resolve) => line.once('end', resolve));
      line.end();
      await over;
      expect(said).toEqual([1n, 2n, 3n]);
    });

    test('goes both ways until its handler fails', async () => {
      const line = await client.attachRunner();
      const failed = new Promise<{ details: string }>((resolve) => line.once('error', resolve as () => void));
      line.resume();
      line.write({ sequence: 0n, message: undefined });
      expect((await failed).details).toBe('Not zero.');
    });

    test('goes both ways until it is cut, and its handler hears of it', async () => {
      const before = seen.linesEnded;
      const line = await client.attachRunner();
      line.on('error', () => undefined);
      const answered = new Promise((resolve) => line.once('data', resolve));
      line.write({ sequence: 1n, message: undefined });
      await answered;
      line.cancel();
      await eventually(() => seen.linesEnded === before + 1);
    });

    // The last: the service is gone after it.
    test('is cut when its service has waited long enough to stop', async () => {
      const caller = await bed.caller();
      const before = seen.aborted;
      const asked = client.getApp(app('ap-wait'), { for: caller, timeoutMs: 8_000 });
      // gRPC's own client may try again until the deadline, where its line breaks before an answer began.
      const cut = expect(asked).rejects.toMatchObject({
        kind: expect.stringMatching(/unavailable|cancelled|timeout/),
      });
      const probe = client.getApp(app('ap-1'), { for: caller });
      await probe;
      await stop();
      await cut;
      await eventually(() => seen.aborted === before + 1);
      await expect(client.getApp(app('ap-1'), { for: caller, timeoutMs: 500 })).rejects.toMatchObject({
        kind: expect.stringMatching(/unavailable|timeout/),
      });
    });
  });
}
