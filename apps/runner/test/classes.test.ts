/** Classes in containers: entered once, called by method, exited on stop. */
import { Runtime } from '@berth/contracts/functions/v1/functions';
import { eventually } from '@berth/testing';
import { Rig, STOPPED } from './rig';
import { resultOf, type TestFunction } from './stand-ins';

jest.setTimeout(60_000);

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.open();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

const call = (made: TestFunction, method: string, ...args: unknown[]) =>
  made.call([], { payload: Buffer.from(JSON.stringify({ args, kwargs: {}, method })) });
const linesOf = (made: TestFunction) =>
  rig.logs.filter(({ functionId }) => functionId === made.functionId).map(({ text }) => text);

test.each([
  [
    'python',
    { handler: 'tagger:Tagger', parameters: '{"language":"german"}' },
    [
      ['tags', 'der Butt und das Meer'],
      ['count', 'eins zwei'],
    ],
    [['butt', 'meer'], 2],
    ['loading the words of german', 'answered 2 calls'],
  ],
  [
    'node',
    { handler: 'ledger:Ledger', runtime: Runtime.RUNTIME_NODE, parameters: '{"currency":"NOK"}' },
    [
      ['add', 2],
      ['add', 3],
    ],
    ['2 NOK', '5 NOK'],
    ['opened', 'closed at 5 NOK'],
  ],
] as [string, object, [string, unknown][], unknown[], string[]][])(
  'the example in %s',
  async (_, spec, calls, results, lines) => {
    const made = rig.example('classes', spec);
    const containerId = await rig.container(made);
    for (const [index, [method, argument]] of calls.entries()) {
      const { inputId } = await call(made, method, argument);
      expect(resultOf(await rig.functions.outcomeOf(inputId))).toEqual(results[index]);
    }
    await rig.scheduler.stop(containerId);
    await rig.scheduler.reported(containerId, STOPPED);
    await eventually(() => linesOf(made).length >= 2);
    expect(linesOf(made)).toEqual(lines);
  },
);

test('an exit hook has longer than a process has to leave', async () => {
  const source = `
import time
class Slow:
    def go(self): return 1
    def __exit__(self, *_):
        time.sleep(5)
        print('saved')`;
  const made = rig.make(source, { handler: 'main:Slow' });
  const containerId = await rig.container(made);
  await rig.scheduler.stop(containerId);
  await rig.scheduler.reported(containerId, STOPPED);
  await eventually(() => linesOf(made).includes('saved'));
});
