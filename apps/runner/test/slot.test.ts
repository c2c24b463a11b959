/** How one input runs in its slot, with a worker and a line that do as they are told. */
import { Verdict, type InputFinished } from '@berth/contracts/functions/v1/functions';
import type { InputOutcome, WorkerItem } from '@berth/worker-protocol';
import { runInput, type SlotContext, type TakenInput } from '../src/containers/slot';

const taken = {
  message: { ack: () => {}, giveBack: () => {} },
  input: { inputId: 'in-1', callId: 'fc-1', attempt: 1, format: 'json', payload: Buffer.from('[]') },
} as unknown as TakenInput;

test('a generator that is done is no timeout, however long its items wait for their verdict', async () => {
  jest.useFakeTimers();
  try {
    const recorded = Promise.withResolvers<{ verdict: Verdict }>();
    const finished: InputFinished[] = [];
    const kill = jest.fn();
    const context = {
      containerId: 'ct-1',
      spec: { timeout: 1, memory: 128 },
      worker: { cancel: () => {}, recorded: () => {} },
      line: {
        tellStarted: () => {},
        tellItems: () => recorded.promise,
        tellFinished: (each: InputFinished) => {
          finished.push(each);
          return Promise.resolve({ verdict: Verdict.VERDICT_ACCEPTED });
        },
      },
      running: new Map(),
      takePhases: () => [],
      ended: new Promise(() => {}),
      kill,
    } as unknown as SlotContext;
    const done = runInput(context, taken, (onItem: (item: WorkerItem) => void) => {
      onItem({ index: 0, format: 'json', payload: Buffer.from('1') });
      const said = { kind: 'success', format: 'items', payload: Buffer.from('1'), runUs: 1 };
      return Promise.resolve(said as InputOutcome);
    });
    await jest.advanceTimersByTimeAsync(10_000);
    recorded.resolve({ verdict: Verdict.VERDICT_ACCEPTED });
    await done;
    expect(kill).not.toHaveBeenCalled();
    expect(finished.map(({ outcome }) => outcome?.$case)).toEqual(['success']);
  } finally {
    jest.useRealTimers();
  }
});
