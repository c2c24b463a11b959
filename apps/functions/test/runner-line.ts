/** A runner as functions sees it: a line, and a container that takes one input after the other from the queue. */
import { once } from 'node:events';
import {
  AttachRunnerRequest,
  FunctionsServiceService,
  InputFinished,
  InputStarted,
  type AttachRunnerResponse,
  type InputVerdict,
  type Phase,
} from '@berth/contracts/functions/v1/functions';
import { newId } from '@berth/database';
import { decodeInput, inputConsumer, inputConsumerName, type InputMessage } from '@berth/events';
import type { ClientOf } from '@berth/service-kit';
import type { TestBed } from '@berth/testing';

type Line = Awaited<ReturnType<ClientOf<typeof FunctionsServiceService>['attachRunner']>>;

export interface Delivery {
  input: InputMessage;
  redelivered: boolean;
  ack(): void;
  giveBack(): void;
}

export class RunnerLine {
  readonly cancelled: string[] = [];
  private sequence = 0n;
  private over = false;
  private readonly verdicts = new Map<bigint, (verdict: InputVerdict) => void>();

  private constructor(
    private readonly bed: TestBed,
    readonly line: Line,
  ) {
    line.on('data', ({ message }: AttachRunnerResponse) => {
      if (message?.$case === 'cancelled') this.cancelled.push(message.value.inputId);
      if (message?.$case === 'verdict') this.verdicts.get(message.value.sequence)?.(message.value);
    });
    line.on('error', () => undefined);
    line.on('status', () => (this.over = true));
  }

  static async attach(bed: TestBed, as = 'runner'): Promise<RunnerLine> {
    const client = bed.connect(FunctionsServiceService, 'functions', as);
    const line = new RunnerLine(bed, await client.attachRunner());
    line.say({ $case: 'hello', value: { nodeId: newId('no'), incarnation: 'one' } });
    return line;
  }

  private say(message: AttachRunnerRequest['message']): bigint {
    const sequence = ++this.sequence;
    this.line.write({ sequence, message });
    return sequence;
  }

  private verdictOn(message: AttachRunnerRequest['message']): Promise<InputVerdict> {
    return new Promise((resolve) => {
      this.verdicts.set(this.sequence + 1n, resolve);
      this.say(message);
    });
  }

  started(
    input: InputMessage,
    containerId: string,
    redelivered = false,
    phases: Phase[] = [],
  ): Promise<InputVerdict> {
    const { inputId, attempt } = input;
    const value = InputStarted.fromPartial({
      inputId,
      attempt,
      containerId,
      redelivered,
      startedAt: new Date(),
      phases,
    });
    return this.verdictOn({ $case: 'started', value });
  }

  finished(
    input: Pick<InputMessage, 'inputId' | 'attempt'>,
    containerId: string,
    outcome: InputFinished['outcome'],
  ): Promise<InputVerdict> {
    const { inputId, attempt } = input;
    const value = InputFinished.fromPartial({
      inputId,
      attempt,
      containerId,
      startedAt: new Date(),
      finishedAt: new Date(),
    });
    return this.verdictOn({ $case: 'finished', value: { ...value, outcome } });
  }

  items(
    { inputId, attempt }: Pick<InputMessage, 'inputId' | 'attempt'>,
    containerId: string,
    index: number,
    values: unknown[],
  ): Promise<InputVerdict> {
    const payloads = values.map((value) => Buffer.from(JSON.stringify(value)));
    const value = { inputId, attempt, containerId, index, payloads, format: 'json' };
    return this.verdictOn({ $case: 'items', value });
  }

  /** The next input of a function version from the queue. */
  async next(functionId: string, version = 1): Promise<Delivery> {
    const { manager, jetstream } = this.bed.bus;
    await manager.consumers.add('BERTH_INPUTS', inputConsumer(functionId, version));
    const consumer = await jetstream.consumers.get('BERTH_INPUTS', inputConsumerName(functionId, version));
    const message = await consumer.next({ expires: 10_000 });
    const input = message && decodeInput(message);
    if (!input) throw new Error('no input came');
    return {
      input,
      redelivered: message.info.deliveryCount > 1,
      ack: () => message.ack(),
      giveBack: () => message.nak(),
    };
  }

  async end(): Promise<void> {
    if (this.over) return; // The service went first.
    const closed = once(this.line, 'close');
    this.line.cancel();
    await closed.catch(() => undefined);
  }
}

export const success = (result: unknown): InputFinished['outcome'] => ({
  $case: 'success',
  value: { payload: Buffer.from(JSON.stringify(result)), format: 'json', blob: '' },
});

/** Of a generator that has yielded so many items. */
export const yielded = (count: number | string): InputFinished['outcome'] => ({
  $case: 'success',
  value: { payload: Buffer.from(String(count)), format: 'items', blob: '' },
});

export const failure = (type: string): InputFinished['outcome'] => ({
  $case: 'failure',
  value: { type, message: `it was ${type}`, traceback: undefined },
});
