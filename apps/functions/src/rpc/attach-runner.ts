import { setMaxListeners } from 'node:events';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { AttachRunnerRequest, AttachRunnerResponse } from '@berth/contracts/functions/v1/functions';
import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { takeFinished, takeStarted, type Answer } from '../line/intake';
import { takeItems } from '../line/item-intake';
import { verdictMessage, type RunnerLine } from '../line/runner-lines';

/** A runner's standing line. Ends when either side goes; the runner makes a new one and repeats what got no verdict. */
export const attachRunner =
  (context: Context) =>
  (stream: ServerDuplexStream<AttachRunnerRequest, AttachRunnerResponse>, call: CallContext): Promise<void> =>
    new Promise((resolve, reject) => {
      const { lines, stopping, log } = context;
      let over = false;
      const ended = new AbortController();
      setMaxListeners(0, ended.signal); // One for each outcome that waits.
      const line: RunnerLine = {
        nodeId: undefined,
        write: (message) => {
          if (!over) stream.write(message);
        },
      };
      /** The last message of each input that is being handled: the next one waits for it. */
      const tails = new Map<string, Promise<void>>();

      const end = (error?: unknown) => {
        if (over) return;
        over = true;
        ended.abort();
        lines.delete(line);
        call.signal.removeEventListener('abort', onEnd);
        stopping.signal.removeEventListener('abort', onEnd);
        if (error) reject(error);
        else resolve();
      };
      const onEnd = () => end();

      const handle = (inputId: string, sequence: bigint, work: () => Promise<Answer>) => {
        const before = tails.get(inputId);
        const mine = (before ? before.then(work) : work()).then(
          (answer) => line.write(verdictMessage({ sequence, ...answer })),
          (error: unknown) => {
            log.warn({ err: error, inputId, nodeId: line.nodeId }, 'a runner has to say this again');
            end(error instanceof BerthError ? error : new BerthError('unavailable', 'Say it again.'));
          },
        );
        tails.set(inputId, mine);
        void mine.then(() => {
          if (tails.get(inputId) === mine) tails.delete(inputId);
        });
      };

      stream.on('data', ({ sequence, message }: AttachRunnerRequest) => {
        if (over) return;
        if (message?.$case === 'hello') {
          line.nodeId = message.value.nodeId;
          lines.add(line);
        } else if (!line.nodeId) {
          end(new BerthError('invalid', 'The first message of a line is hello.', { field: 'hello' }));
        } else if (message?.$case === 'started') {
          handle(message.value.inputId, sequence, () => takeStarted(context, line, message.value));
        } else if (message?.$case === 'items') {
          handle(message.value.inputId, sequence, () => takeItems(context, message.value));
        } else if (message?.$case === 'finished') {
          handle(message.value.inputId, sequence, () => takeFinished(context, message.value, ended.signal));
        }
      });
      stream.on('end', onEnd);
      stream.on('error', onEnd);
      call.signal.addEventListener('abort', onEnd, { once: true });
      stopping.signal.addEventListener('abort', onEnd, { once: true });
      if (stopping.signal.aborted) end();
    });
