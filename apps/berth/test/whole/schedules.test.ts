/** Functions that are called by themselves, over kill -9; and webhooks that hear how a call ended. */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Berth, InvocationResult } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python, root } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
let server: Server;
const heard: { headers: IncomingHttpHeaders; body: string }[] = [];
beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      heard.push({ headers: request.headers, body });
      // The first word is not taken: it has to come again.
      response.writeHead(heard.length === 1 ? 503 : 204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  platform = await new Platform({ BERTH_WEBHOOK_NETWORKS: '127.0.0.0/8' }).start('--separate');
  berth = platform.berth();
});
afterAll(async () => {
  await platform?.close();
  server?.close();
});

async function callsOf(functionId: string): Promise<InvocationResult[]> {
  const calls = [];
  for await (const call of berth.functions.invocations(functionId)) calls.push(call);
  return calls.reverse();
}

test('a schedule calls once for each due moment, also over kill -9 of functions and Postgres', async () => {
  const { code, stderr } = await platform.cli('deploy', join(root, 'examples/ticker/ticker.py'));
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const tick = (await berth.functions.lookup('ticker', 'tick'))!;
  const standup = (await berth.functions.lookup('ticker', 'standup'))!;
  expect(standup.schedule).toMatchObject({ cron: '30 8 * * 1-5', timezone: 'Europe/Rome' });

  for (const [round, name] of ['functions', 'postgres'].entries()) {
    const before = (await callsOf(tick.function_id)).length;
    await eventually(async () => (await callsOf(tick.function_id)).length > before, 60_000);
    const { process: victim } = platform.child(name);
    process.kill(victim!.pid, 'SIGKILL');
    await eventually(
      () => platform.child(name).restarts === 1 && platform.child(name).state === 'up',
      60_000,
    );
    await eventually(async () => (await callsOf(tick.function_id)).length > before + 3 + round, 90_000);
  }
  await eventually(async () => {
    const calls = await callsOf(tick.function_id);
    return calls.filter(({ status }) => status === 'success').length >= 8;
  }, 90_000);
  // As many calls as there were moments, one more or less at the ends: none was missed, and none made twice.
  const times = (await callsOf(tick.function_id)).map(({ created_at }) => Date.parse(created_at));
  const moments = (times.at(-1)! - times[0]!) / 2000 + 1;
  expect(Math.abs(times.length - moments)).toBeLessThan(2);

  await berth.apps.stop(tick.app_id);
  const stopped = (await callsOf(tick.function_id)).length;
  const { next_run_at } = await berth.functions.get(tick.function_id);
  expect(next_run_at ?? null).toBeNull();
  expect((await callsOf(tick.function_id)).length).toBe(stopped);
});

test('a webhook hears how its call ended, signed, and again until it answers', async () => {
  const app = await berth.apps.create('told');
  const { function_id } = await makeFunction(berth, app.app_id, python('def run(x): return x * 2'));
  const secret = 'a-secret-of-16-or-more';
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/done?key=hidden`;
  const { call_id } = await berth.functions.spawn(function_id, { args: [21], webhook: { url, secret } });
  await eventually(() => heard.length >= 2, 60_000);
  const [first, second] = heard;
  expect(second!.headers['webhook-id']).toBe(first!.headers['webhook-id']);
  const { headers, body } = second!;
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  const signature = createHmac('sha256', secret).update(signed).digest('base64');
  expect(headers['webhook-signature']).toBe(`v1,${signature}`);
  expect(JSON.parse(body)).toMatchObject({ data: { call_id, status: 'success', result: 42 } });
  const shown = await eventually(async () => {
    const call = await berth.calls.get(call_id);
    return call.webhook?.state === 'delivered' && call;
  }, 30_000);
  expect(JSON.stringify(shown)).not.toMatch(/hidden|a-secret/);
});
