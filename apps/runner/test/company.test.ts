/** Who runs beside whom in a container: decided in order, without clocks or sockets. */
import { Company } from '../src/containers/company';

const never = new AbortController().signal;
const settled = async (work: Promise<unknown>) => {
  let done = false;
  void work.then(() => (done = true));
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  return done;
};

test('inputs run beside each other; one that is to be alone waits for them, and holds others back', async () => {
  const company = new Company();
  const leaveFirst = await company.enter(false, never);
  const leaveSecond = await company.enter(false, never);
  const alone = company.enter(true, never);
  const next = company.enter(false, never);
  leaveFirst();
  expect(await settled(alone)).toBe(false);
  leaveSecond();
  const leaveAlone = await alone;
  expect(await settled(next)).toBe(false);
  leaveAlone();
  (await next)();
  expect(await settled(company.enter(true, never))).toBe(true);
});

test('two that are to be alone follow each other', async () => {
  const company = new Company();
  const leave = await company.enter(true, never);
  const other = company.enter(true, never);
  expect(await settled(other)).toBe(false);
  leave();
  expect(await settled(other)).toBe(true);
});

test('who waits is let go when no more is to be begun', async () => {
  const company = new Company();
  await company.enter(false, never);
  const pulling = new AbortController();
  const alone = company.enter(true, pulling.signal);
  expect(await settled(alone)).toBe(false);
  pulling.abort();
  (await alone)();
  expect(await settled(company.enter(false, never))).toBe(true);
});

test('where others run on and on, it is not alone after a while, but runs', async () => {
  jest.useFakeTimers();
  try {
    const company = new Company();
    await company.enter(false, never);
    const alone = company.enter(true, never);
    await jest.advanceTimersByTimeAsync(29_000);
    expect(await settled(alone)).toBe(false);
    await jest.advanceTimersByTimeAsync(2_000);
    expect(await settled(alone)).toBe(true);
    expect(await settled(company.enter(false, never))).toBe(true);
  } finally {
    jest.useRealTimers();
  }
});
