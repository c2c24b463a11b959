/** The runners that are attached to this replica, and how they hear of cancellations made in any. */
import { AttachRunnerResponse, type InputVerdict } from '@berth/contracts/functions/v1/functions';
import type { Bus } from '@berth/events';
import type { Logger } from '@berth/service-kit';

/** Core NATS, to every replica: input ids, separated by spaces. A lost one costs work, never an outcome. */
const CANCELLED_SUBJECT = 'berth.inputs-cancelled';

export interface RunnerLine {
  /** Undefined until it said hello. */
  nodeId: string | undefined;
  write(message: AttachRunnerResponse): void;
}

export const verdictMessage = (verdict: InputVerdict): AttachRunnerResponse => ({
  message: { $case: 'verdict', value: verdict },
});

const cancelledMessage = (inputId: string): AttachRunnerResponse => ({
  message: { $case: 'cancelled', value: { inputId } },
});

export class RunnerLines {
  private readonly lines = new Set<RunnerLine>();
  private unsubscribe: () => void = () => undefined;

  constructor(
    private readonly bus: Bus,
    private readonly log: Logger,
  ) {}

  start(): void {
    const subscription = this.bus.nats.subscribe(CANCELLED_SUBJECT, {
      callback: (_, message) => {
        for (const inputId of message.string().split(' ')) this.tell(inputId);
      },
    });
    this.unsubscribe = () => subscription.unsubscribe();
  }

  stop(): void {
    this.unsubscribe();
  }

  add(line: RunnerLine): void {
    this.lines.add(line);
  }

  delete(line: RunnerLine): void {
    this.lines.delete(line);
  }

  /** Tells every runner of every replica; only the one that runs an input does anything. */
  cancel(inputIds: readonly string[]): void {
    if (inputIds.length === 0) return;
    try {
      this.bus.nats.publish(CANCELLED_SUBJECT, inputIds.join(' '));
    } catch (error) {
      this.log.warn({ err: error }, 'a cancellation did not leave this replica: the work ends by itself');
      for (const inputId of inputIds) this.tell(inputId);
    }
  }

  private tell(inputId: string): void {
    for (const line of this.lines) line.write(cancelledMessage(inputId));
  }
}

/** Tells one runner that what it began has ended already. */
export const tellCancelled = (line: RunnerLine, inputId: string) => line.write(cancelledMessage(inputId));
