/** Functions that are called by themselves. */
import { ListInvocationsRequest } from '@berth/contracts/functions/v1/functions';
import { eventually } from '@berth/testing';
import { World } from './world';

let world: World;
beforeAll(async () => (world = await World.open()));
afterAll(() => world?.close());

const every = (period: number) => ({ cron: '', timezone: '', period });
const cron = (text: string, timezone = '') => ({ cron: text, timezone, period: undefined });
const get = async (functionId: string) =>
  (await world.client.getFunction({ functionId }, { for: world.owner })).function!;
/** The moments that became calls. */
const moments = async (functionId: string) =>
  (
    await world.db.query<{ idempotency_key: string }>(
      'SELECT idempotency_key FROM call WHERE function_id = $1 ORDER BY id',
      [functionId],
    )
  )
    .map(({ idempotency_key }) => Date.parse(idempotency_key.replace('§schedule ', '')))
    .sort((one, other) => one - other);
/** One after the other, with the period between each two. */
const expectWhole = (found: number[], periodMs: number) => {
  const steps = found.slice(1).map((moment, index) => moment - found[index]!);
  expect(steps).toEqual(steps.map(() => periodMs));
};

test('a period is kept to the second, with two replicas, and over an end without warning', async () => {
  const two = await world.restart({ BERTH_FUNCTIONS_ADDRESS: `unix:${world.bed.dataDir}/two.sock` });
  const { functionId, nextRunAt } = await world.aFunction({ schedule: every(1) });
  expect(nextRunAt!.getTime() - Date.now()).toBeLessThanOrEqual(1000);
  await eventually(async () => (await moments(functionId)).length >= 3);
  await two[Symbol.asyncDispose]();
  await world.service[Symbol.asyncDispose]();
  const before = (await moments(functionId)).length;
  // Nobody is there, and time goes on.
  await world.db.query(
    `UPDATE schedule SET next_at = next_at - interval '20 seconds' WHERE function_id = $1`,
    [functionId],
  );
  await world.db.query(
    `UPDATE call SET idempotency_key = '§schedule ' || to_char((substr(idempotency_key, 11)::timestamptz - interval '20 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') WHERE function_id = $1`,
    [functionId],
  );
  await world.restart();
  await eventually(async () => (await moments(functionId)).length >= before + 20);
  const found = await moments(functionId);
  expectWhole(found, 1000);
  const listed = await world.client.listInvocations(
    ListInvocationsRequest.fromPartial({ functionId, limit: 100 }),
    { for: world.owner },
  );
  expect(listed.data.length).toBeGreaterThanOrEqual(found.length);
  // What runs is what was deployed, called without arguments, and one may begin before the other has ended.
  const { input } = await world.runner.next(functionId);
  expect(input.payload?.toString()).toBe('{"args":[],"kwargs":{}}');
});

test('a moment becomes one call however many look at it at once', async () => {
  const { functionId } = await world.aFunction({ schedule: every(3600) });
  await world.db.query(`UPDATE schedule SET next_at = now() WHERE function_id = $1`, [functionId]);
  await using _two = await world.restart({ BERTH_FUNCTIONS_ADDRESS: `unix:${world.bed.dataDir}/three.sock` });
  await using _three = await world.restart({
    BERTH_FUNCTIONS_ADDRESS: `unix:${world.bed.dataDir}/four.sock`,
  });
  await eventually(async () => (await moments(functionId)).length === 1);
  // Even one that is due again under its old moment, as after a restored backup of one table.
  await world.db.query(
    `UPDATE schedule SET next_at = (SELECT substr(idempotency_key, 11)::timestamptz FROM call WHERE function_id = $1)
      WHERE function_id = $1`,
    [functionId],
  );
  await eventually(async () => (await get(functionId)).nextRunAt!.getTime() > Date.now());
  expect(await moments(functionId)).toHaveLength(1);
});

test('an update that keeps the schedule keeps its phase; another begins anew; none ends it', async () => {
  const { functionId, nextRunAt } = await world.aFunction({ schedule: every(1000) });
  const kept = await world.anUpdate(functionId, { schedule: every(1000), cpu: 2 });
  expect(kept.nextRunAt).toEqual(nextRunAt);
  const daily = await world.anUpdate(functionId, { schedule: cron('30 2 * * *', 'Europe/Berlin') });
  expect(daily.schedule).toMatchObject({ cron: '30 2 * * *', timezone: 'Europe/Berlin' });
  expect(daily.nextRunAt!.getUTCMinutes()).toBe(30);
  expect((await world.anUpdate(functionId, {})).nextRunAt).toBeUndefined();
  const back = await world.client.rollbackFunction({ functionId, version: 1 }, { for: world.owner });
  expect(back.function!.nextRunAt!.getTime()).toBeGreaterThan(Date.now() + 900_000);
});

test('a stopped app, a deleted function and an ephemeral app run nothing', async () => {
  const stopped = await world.aFunction({ schedule: every(1) });
  const deleted = await world.aFunction({ schedule: every(1) });
  await world.client.stopApp({ appId: stopped.appId }, { for: world.owner });
  await world.client.deleteFunction({ functionId: deleted.functionId }, { for: world.owner });
  const { appId } = await world.anApp({ ephemeral: true });
  const trial = await world.aFunction({ appId, schedule: every(1) });
  const ids = [stopped, deleted, trial].map(({ functionId }) => functionId);
  for (const id of ids) expect((await get(id)).nextRunAt).toBeUndefined();
  const rows = await world.db.query('SELECT 1 FROM schedule WHERE function_id = ANY($1)', [ids]);
  expect(rows).toEqual([]);
});

test.each([
  [cron('61 * * * *'), 'schedule.cron'],
  [cron('0 9 * * *', 'Mars/Olympus'), 'schedule.timezone'],
  [cron(''), 'schedule'],
  [{ cron: '0 9 * * *', timezone: '', period: 5 }, 'schedule'],
  [every(0.5), 'schedule.period'],
])('%j is refused at deploy', async (schedule, field) => {
  await expect(world.aFunction({ schedule })).rejects.toMatchObject({ kind: 'invalid', field });
});
