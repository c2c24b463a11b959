import { inputConsumerName, inputSubject } from '@berth/events';
import type { Context } from '../context';
import type { CallView } from '../store/call-store';

type Queue = Pick<Context, 'bus' | 'log'>;

/** Requests to the queue that are on their way at a time. */
const TAKEN_MAX = 32;

/** Takes the messages of ended inputs out of the queue. One that stays costs a container a moment, not an outcome. */
export async function takeFromQueue({ bus, log }: Queue, ended: readonly CallView[]): Promise<void> {
  const take = ({ function_id, version, input_id }: CallView) =>
    bus.manager.streams
      .purge('BERTH_INPUTS', { filter: inputSubject(function_id, version, input_id) })
      .catch((error: unknown) => log.debug({ err: error, input_id }, 'a cancelled input stays in the queue'));
  for (let from = 0; from < ended.length; from += TAKEN_MAX) {
    await Promise.all(ended.slice(from, from + TAKEN_MAX).map(take));
  }
}

/** Takes a version's consumer and messages away: nothing of it waits or runs any more. Repeatable. */
export async function dropQueue({ bus }: Queue, functionId: string, version: number): Promise<void> {
  const consumer = inputConsumerName(functionId, version);
  await bus.manager.consumers.delete('BERTH_INPUTS', consumer).catch((error: unknown) => {
    if (!isAbsent(error)) throw error;
  });
  await bus.manager.streams.purge('BERTH_INPUTS', { filter: inputSubject(functionId, version, '>') });
}

/** Whether the queue still has a message of this input. */
export async function isQueued({ bus }: Queue, functionId: string, version: number, inputId: string) {
  try {
    const message = await bus.manager.streams.getMessage('BERTH_INPUTS', {
      last_by_subj: inputSubject(functionId, version, inputId),
    });
    return message !== null;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** JetStream says of a stream's message and of a consumer that it is not there with one of these. */
const isAbsent = (error: unknown): boolean => {
  const { code, name } = error as { code?: number | string; name?: string };
  return code === 10014 || code === 10037 || code === 404 || name === 'ConsumerNotFoundError';
};
