import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { LogPipe } from '../src/containers/log-pipe';

/** A server that takes what it is sent, and says so only when it is told to. */
function aSlowServer() {
  const texts: string[] = [];
  let confirm = Promise.withResolvers<void>();
  return {
    texts,
    confirm() {
      confirm.resolve();
      confirm = Promise.withResolvers();
    },
    breakLine() {
      confirm.reject(new Error('disconnected'));
      confirm = Promise.withResolvers();
    },
    nats: {
      isClosed: () => false,
      flush: () => confirm.promise,
      publish: (_: string, data: Msg['data'], __: { headers: MsgHdrs }) =>
        void texts.push(Buffer.from(data).toString()),
    } as never,
  };
}

const of = { workspaceId: 'wo-1', appId: 'ap-1', functionId: 'fu-1', containerId: 'ta-1' };
const settled = () => new Promise((resolve) => setImmediate(resolve));

test.each(['confirm', 'breakLine'] as const)(
  'what is printed faster than it can be sent is bounded, dropped and counted (%s)',
  async (then) => {
    const server = aSlowServer();
    const pipe = new LogPipe(server.nats, of);
    const line = Buffer.from(`${'x'.repeat(1023)}\n`);
    for (let n = 0; n < 5000; n++) pipe.print('stdout', line, 'fc-1');
    const sent = server.texts.length;
    expect(sent).toBeLessThan(1100);
    expect(sent).toBeGreaterThan(500);

    server[then]();
    await settled();
    expect(server.texts.at(-1)).toBe(
      `… ${5000 - sent} lines were dropped: printed faster than they could be sent`,
    );
    pipe.print('stdout', line, 'fc-1'); // There is room again.
    expect(server.texts.length).toBe(sent + 2);
  },
);
