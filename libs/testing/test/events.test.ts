import type { Database } from '@berth/database';
import { consume, createRelay, enqueue, OUTBOX_TABLE, type Consumption, type Relay } from '@berth/events';
import { createLogger, defineService } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';

class Initial20260101T000000 {
  name = 'Initial20260101T000000';
  async up(runner: { query(sql: string): Promise<unknown> }) {
    await runner.query(OUTBOX_TABLE);
  }
  async down() {}
}

const service = defineService('workspace', () => Promise.reject(new Error('only its store is used here')), {
  schema: 'workspace',
  entities: [],
  migrations: [Initial20260101T000000 as never],
});

const log = createLogger('test', 'silent');
let bed: TestBed;
let db: Database;
let relay: Relay;
beforeAll(async () => {
  bed = await testBed();
  db = await bed.database(service);
  relay = createRelay(db, bed.bus, 'workspace', log);
  relay.start();
});
afterAll(async () => {
  await relay?.stop();
  await bed?.close();
});

/** What arrives under a subject of its own. */
async function listen(subject: string, handle: (text: string) => Promise<void> = async () => undefined) {
  const seen: string[] = [];
  const consumption: Consumption = await consume(
    bed.bus,
    {
      stream: 'BERTH_EVENTS',
      durable: subject.replaceAll('.', '-'),
      filter: subject,
      handle: async (event) => {
        const text = event.json() as string;
        await handle(text);
        seen.push(text);
      },
    },
    log,
  );
  return { seen, stop: () => consumption.stop() };
}

const send = (subject: string, text: string) =>
  db.transact((tx) => enqueue(tx, subject, Buffer.from(JSON.stringify(text))));

test('an event of a committed transaction arrives; one that was rolled back does not', async () => {
  const subject = 'berth.events.commit.v1.done';
  const { seen, stop } = await listen(subject);
  await db
    .transact(async (tx) => {
      await enqueue(tx, subject, Buffer.from('"rolled back"'));
      throw new Error('no');
    })
    .catch(() => undefined);
  await send(subject, 'committed');
  relay.wake();
  await eventually(() => seen.length > 0);
  expect(seen).toEqual(['committed']);
  await stop();
});

test('two relays on one table publish nothing twice', async () => {
  const subject = 'berth.events.twice.v1.done';
  const { seen, stop } = await listen(subject);
  const other = createRelay(db, bed.bus, 'workspace', log);
  for (let number = 0; number < 50; number++) await send(subject, String(number));
  relay.wake();
  other.wake();
  await eventually(() => seen.length >= 50);
  await eventually(async () => (await db.query('SELECT id FROM outbox')).length === 0);
  expect(new Set(seen).size).toBe(50);
  expect(seen).toHaveLength(50);
  await other.stop();
  await stop();
});

test('an event whose wake-up was lost is found by the scan', async () => {
  const subject = 'berth.events.scan.v1.done';
  const { seen, stop } = await listen(subject);
  await send(subject, 'nobody woke the relay');
  await eventually(() => seen.length === 1);
  await stop();
});

test('an event that a handler failed on comes again', async () => {
  const subject = 'berth.events.again.v1.done';
  let tries = 0;
  const { seen, stop } = await listen(subject, async () => {
    if (++tries === 1) throw new Error('not yet');
  });
  await send(subject, 'patient');
  relay.wake();
  await eventually(() => seen.length === 1);
  expect(tries).toBe(2);
  await stop();
});

test('NATS dies between the commit and the publishing: the event arrives once it is back', async () => {
  const subject = 'berth.events.outage.v1.done';
  const { seen, stop } = await listen(subject);
  const restarting = bed.nats.restart();
  await send(subject, 'through the outage');
  relay.wake();
  await restarting;
  await eventually(() => seen.length >= 1, 30_000);
  expect(new Set(seen)).toEqual(new Set(['through the outage']));
  await stop();
});
