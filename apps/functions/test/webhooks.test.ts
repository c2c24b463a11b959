/** Telling of ended calls: signed, at least once, and never where a tenant must not reach. */
import { createHmac, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  InvokeFunctionRequest,
  OpenFunctionCallRequest,
  PutFunctionCallInputsRequest,
  WebhookState,
} from '@berth/contracts/functions/v1/functions';
import { newId } from '@berth/database';
import { eventually } from '@berth/testing';
import { mayReach, readNetworks } from '../src/domain/networks';
import { checkWebhook, composeBody, signedHeaders, untilNextAttemptMs } from '../src/domain/webhook';
import { post } from '../src/loops/post';
import { failure, success } from './runner-line';
import { World } from './world';

interface Told {
  headers: IncomingMessage['headers'];
  path: string;
  body: string;
}

let world: World;
let server: Server;
let origin: string;
const told: Told[] = [];
/** What the receiver answers, by path; 200 for the rest. */
const answers: Record<string, { status: number; location?: string }> = {};

beforeAll(async () => {
  world = await World.open({ BERTH_WEBHOOK_NETWORKS: '127.0.0.0/8' });
  server = createServer(async (request, response) => {
    const body = await text(request);
    told.push({ headers: request.headers, path: request.url!, body });
    const { status, location } = answers[request.url!] ?? { status: 200 };
    if (status === 0) return; // Never.
    response.writeHead(status, location ? { location } : {}).end();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await world?.close();
});

const toldAt = (path: string) => told.filter((each) => each.path === path);
const hook = (path: string, secret = '') => ({ webhook: { url: origin + path, secret } });
const end = async (functionId: string, outcome = success({ big: 1 })) => {
  const { input, ack } = await world.runner.next(functionId);
  await world.runner.finished(input, newId('ta'), outcome);
  ack();
};
const delivery = async (callId: string) => (await world.call(callId)).webhook;
const { WEBHOOK_STATE_DELIVERED: DELIVERED, WEBHOOK_STATE_FAILED: FAILED } = WebhookState;
const { WEBHOOK_STATE_PENDING: PENDING, WEBHOOK_STATE_WAITING: WAITING } = WebhookState;

test('a call that ends is told, signed, with its outcome as it is', async () => {
  const { functionId } = await world.aFunction();
  const key = randomBytes(32);
  const { callId, webhook } = await world.spawn(functionId, hook('/ok', `whsec_${key.toString('base64')}`));
  expect(webhook).toMatchObject({ state: WAITING, host: new URL(origin).host, attempts: 0 });
  await end(functionId, success('12345678901234567890123'));
  const [{ headers, body }] = (await eventually(() => toldAt('/ok').length === 1 && toldAt('/ok'))) as [Told];
  expect(JSON.parse(body)).toMatchObject({
    type: 'function_call.success',
    data: { call_id: callId, function_id: functionId, status: 'success', error: null },
  });
  expect(headers['webhook-id']).toBe(callId);
  const signed = `${callId}.${headers['webhook-timestamp']}.${body}`;
  expect(headers['webhook-signature']).toBe(
    `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
  );
  expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(30);
  await eventually(async () => (await delivery(callId))?.state === DELIVERED);
});

test('a failure and a cancellation are ends too; without a secret nothing is signed', async () => {
  const { functionId } = await world.aFunction();
  await world.spawn(functionId, hook('/failed'));
  await end(functionId, failure('ValueError'));
  await eventually(() => toldAt('/failed').length === 1);
  expect(JSON.parse(toldAt('/failed')[0]!.body).data).toMatchObject({
    status: 'failure',
    error: { type: 'ValueError' },
    result: null,
  });
  expect(toldAt('/failed')[0]!.headers['webhook-signature']).toBeUndefined();
  const { callId } = await world.spawn(functionId, hook('/cancelled'));
  await world.client.cancelFunctionCall({ callId }, { for: world.owner });
  await eventually(() => toldAt('/cancelled').length === 1);
});

test('a map is told once, when it is closed and all its inputs have ended', async () => {
  const { functionId } = await world.aFunction();
  const open = OpenFunctionCallRequest.fromPartial({ functionId, ...hook('/map') });
  const { callId } = (await world.client.openFunctionCall(open, { for: world.owner })).functionCall!;
  const put = PutFunctionCallInputsRequest.fromPartial({ callId, inputs: [{ index: 0 }, { index: 1 }] });
  await world.client.putFunctionCallInputs(put, { for: world.owner });
  await end(functionId);
  await end(functionId, failure('ValueError'));
  expect(toldAt('/map')).toEqual([]);
  await world.client.closeFunctionCall({ callId }, { for: world.owner });
  await eventually(() => toldAt('/map').length === 1, 15_000);
  expect(JSON.parse(toldAt('/map')[0]!.body)).toMatchObject({
    type: 'function_call.failure',
    data: { call_id: callId, num_inputs: 2, num_succeeded: 1, num_failed: 1, result: null },
  });
}, 30_000);

test('what does not answer well is tried again; what is gone is not; redirects lead nowhere', async () => {
  answers['/busy'] = { status: 500 };
  answers['/gone'] = { status: 410 };
  answers['/moved'] = { status: 302, location: `${origin}/trap` };
  const { functionId } = await world.aFunction();
  const calls: Record<string, string> = {};
  for (const path of ['/busy', '/gone', '/moved']) {
    calls[path] = (await world.spawn(functionId, hook(path))).callId;
    await end(functionId);
  }
  await eventually(async () => (await delivery(calls['/gone']!))?.state === FAILED);
  const busy = await eventually(async () => {
    const found = await delivery(calls['/busy']!);
    return found?.lastError && found;
  });
  expect(busy).toMatchObject({ state: PENDING, attempts: 1, lastError: 'It answered with status 500.' });
  expect(busy!.nextAttemptAt!.getTime()).toBeGreaterThan(Date.now());
  await eventually(async () => (await delivery(calls['/moved']!))?.lastError?.includes('302'));
  expect(toldAt('/trap')).toEqual([]);

  answers['/busy'] = { status: 204 };
  await world.db.query('UPDATE webhook SET next_at = now() WHERE call_id = $1', [calls['/busy']]);
  await eventually(async () => (await delivery(calls['/busy']!))?.state === DELIVERED);
  const ids = toldAt('/busy').map(({ headers }) => headers['webhook-id']);
  expect(ids).toEqual([calls['/busy'], calls['/busy']]);

  await world.db.query(
    `UPDATE webhook SET next_at = now(), ended_at = now() - interval '25 hours' WHERE call_id = $1`,
    [calls['/moved']],
  );
  await eventually(async () => (await delivery(calls['/moved']!))?.state === FAILED);
});

test('receivers that never answer keep nobody else waiting, nor the recording of outcomes', async () => {
  answers['/never'] = { status: 0 };
  const { functionId } = await world.aFunction();
  for (let n = 0; n < 12; n++) {
    await world.spawn(functionId, hook('/never'));
    await end(functionId);
  }
  const stranger = await world.bed.caller();
  const other = await world.aFunction({}, stranger);
  const request = InvokeFunctionRequest.fromPartial({ functionId: other.functionId, ...hook('/quick') });
  const invoked = world.client.invokeFunction(request, { for: stranger, timeoutMs: 10_000 });
  await end(other.functionId);
  await invoked;
  await eventually(() => toldAt('/quick').length === 1, 3000);
});

test('what was not told when everything ended is told by whoever comes next', async () => {
  const { functionId } = await world.aFunction();
  const { callId } = await world.spawn(functionId, hook('/late'));
  await world.service[Symbol.asyncDispose]();
  await world.db.query(
    `UPDATE input SET state = 'success', result = '1', result_format = 'json', finished_at = now(), recorded_at = now() WHERE call_id = $1`,
    [callId],
  );
  await world.restart();
  await eventually(() => toldAt('/late').length === 1);
});

test('a secret and a URL are sealed in the database, and a repeat is the same request', async () => {
  const { functionId } = await world.aFunction();
  const secret = 'a-secret-that-nobody-may-read';
  const request = InvokeFunctionRequest.fromPartial({ functionId, ...hook('/token-in-path', secret) });
  const spawn = (change = {}) =>
    world.client.spawnFunction({ ...request, ...change }, { for: world.owner, idempotencyKey: 'hook' });
  const first = await spawn();
  expect((await spawn()).functionCall!.callId).toBe(first.functionCall!.callId);
  await expect(spawn(hook('/elsewhere'))).rejects.toMatchObject({ kind: 'precondition' });
  const rows = await world.db.query('SELECT * FROM webhook WHERE call_id = $1', [first.functionCall!.callId]);
  expect(rows).toHaveLength(1);
  for (const hidden of [secret, 'token-in-path']) {
    expect(JSON.stringify(rows.map((row) => ({ ...row, sealed: String(row.sealed) })))).not.toContain(hidden);
    expect(JSON.stringify(await world.call(first.functionCall!.callId))).not.toContain(hidden);
  }
});

test.each([
  ['ftp://example.com/', '', 'webhook.url'],
  ['nonsense', '', 'webhook.url'],
  ['https://user:password@example.com/', '', 'webhook.url'],
  ['http://10.0.0.1/', '', 'webhook.url'],
  ['http://169.254.169.254/latest/meta-data', '', 'webhook.url'],
  ['http://[::1]:80/', '', 'webhook.url'],
  ['http://[::ffff:10.0.0.1]/', '', 'webhook.url'],
  ['http://0x7f.1.1.1:1/'.replace('0x7f', '0x0a'), '', 'webhook.url'],
  ['https://example.com/', 'short', 'webhook.secret'],
  ['https://example.com/', 'whsec_!!!!', 'webhook.secret'],
])('%s with the secret %j is refused before any effect', async (url, secret, field) => {
  const { functionId } = await world.aFunction();
  const refused = world.spawn(functionId, { webhook: { url, secret } });
  await expect(refused).rejects.toMatchObject({ kind: 'invalid', field });
  expect(await world.db.query('SELECT 1 FROM call WHERE function_id = $1', [functionId])).toEqual([]);
});

describe('where it may reach', () => {
  const none = readNetworks('')!;

  test.each([
    '127.0.0.1',
    '0.0.0.0',
    '10.1.2.3',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    'ff02::1',
    '::127.0.0.1',
    'localhost',
    '',
  ])('not %s', (address) => expect(mayReach(address, none)).toBe(false));

  test.each(['1.1.1.1', '93.184.216.34', '172.32.0.1', '2606:4700::1111', '::ffff:1.1.1.1'])(
    '%s',
    (address) => expect(mayReach(address, none)).toBe(address !== '::ffff:7f00:1'),
  );

  test('what the platform is set to allow, and no more', () => {
    const allowed = readNetworks('10.0.0.0/8, fd00::/8')!;
    expect(['10.1.1.1', 'fd00::1', '11.0.0.1', '127.0.0.1'].map((each) => mayReach(each, allowed))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    for (const wrong of ['10.0.0.0', '10.0.0.0/33', 'x/8', '10.0.0.0/8;'])
      expect(readNetworks(wrong)).toBeUndefined();
  });

  test('a name that leads to this machine is refused where it is connected to', async () => {
    const url = origin.replace('127.0.0.1', 'localhost');
    await expect(post(`${url}/rebound`, {}, Buffer.from('{}'), none)).rejects.toThrow('private network');
    expect(toldAt('/rebound')).toEqual([]);
    expect(await post(`${url}/named`, {}, Buffer.from('{}'), readNetworks('127.0.0.0/8')!)).toBe(200);
  });
});

test('the vector of the specification', () => {
  const headers = signedHeaders('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    at: new Date(1614265330 * 1000),
    body: Buffer.from('{"test": 2432232314}'),
  });
  expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

test('waits grow up to four hours, and come to a day after eleven attempts', () => {
  expect([1, 2, 3, 7, 8].map(untilNextAttemptMs)).toEqual([5000, 20_000, 80_000, 14_400_000, 14_400_000]);
});

test('a large result is left out of what is told', () => {
  const call = {
    callId: 'fc-1',
    functionId: 'fu-1',
    status: 'success',
    result_format: 'json',
    result: Buffer.from(`"${'x'.repeat(1024 * 1024)}"`),
    error: null,
    createdAt: new Date(0),
    startedAt: null,
    finishedAt: null,
    attempts: 1,
  };
  const small = { ...call, result: Buffer.from('{"n":12345678901234567890}') };
  expect(JSON.parse(composeBody(call, new Date(0)).toString())).toMatchObject({
    data: { result: null, result_omitted: true },
  });
  expect(composeBody(small, new Date(0)).toString()).toContain('"result":{"n":12345678901234567890}}}');
  expect(checkWebhook({ url: 'https://example.com:8443/a', secret: '' })).toEqual({
    host: 'example.com:8443',
  });
});
