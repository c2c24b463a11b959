import type { InputError } from './outcome';

export interface WaitingFacts {
  /** Inputs of the same function version that were accepted before and wait too. */
  ahead: number;
  /** Its live containers; undefined when the scheduler does not answer. */
  containers: { stage: 'unplaced' | 'starting' | 'ready'; reason: string | undefined }[] | undefined;
}

/** Says when an input that failed is tried again, and why it has to be. */
export const explainRetry = (dueAt: Date, failures: number, retries: number, error: InputError): string =>
  `It will be tried again at ${dueAt.toISOString()}, attempt ${failures + 1} of ${retries + 1}, because ${briefly(error)}`;

const MESSAGE_LENGTH_MAX = 300;

const briefly = ({ type, message }: InputError): string => {
  const [line = ''] = message.split('\n');
  return `${type}: ${line.length > MESSAGE_LENGTH_MAX ? `${line.slice(0, MESSAGE_LENGTH_MAX)}…` : line}`;
};

const count = (n: number, one: string, many: string): string => `${n} ${n === 1 ? one : many}`;

/** Says in a sentence or two why an input waits, and what would start it. */
export function explain({ ahead, containers }: WaitingFacts): string {
  const line =
    ahead === 0 ? 'It is the next in line.' : `${count(ahead, 'input is', 'inputs are')} ahead of it.`;
  if (!containers) return `The scheduler does not answer right now; the call starts when it does. ${line}`;
  const of = (stage: string) => containers.filter((each) => each.stage === stage);
  const [ready, starting, unplaced] = [of('ready'), of('starting'), of('unplaced')];
  const reason = unplaced.find((each) => each.reason)?.reason;
  if (ready.length > 0) {
    const busy = `${count(ready.length, 'container is', 'containers are')} busy with other inputs`;
    return `${busy}; it starts when one is free${reason ? `. Another container waits: ${reason}` : '.'} ${line}`;
  }
  if (starting.length > 0)
    return `${count(starting.length, 'container is', 'containers are')} starting. ${line}`;
  // The scheduler's reason says where the container stands in its own line.
  if (reason) return ahead === 0 ? reason : `${reason} ${line}`;
  if (unplaced.length > 0) return `A container for it waits for a place on a node. ${line}`;
  return `A container for it is being asked for. ${line}`;
}
