import type { ImageBuild } from '@berth/contracts/functions/v1/images';
import { encodeImageLog, type Bus } from '@berth/events';

/** Of one build's log; what comes after it is not kept. Bytes. */
const LOG_BYTES_MAX = 16 * 1024 * 1024;
const LINE_LENGTH_MAX = 16 * 1024;
/** Lines on their way; a build that prints faster waits. */
const UNSENT_MAX = 256;
/** Longer than a NATS server takes to come back. Milliseconds. */
const SEND_MS = 30_000;

/** What a build prints, line by line and in order, to whoever follows it. */
export class ImageLog {
  readonly #unsent = new Set<Promise<unknown>>();
  #bytes = 0;
  #lost = 0;

  constructor(
    private readonly bus: Bus,
    private readonly build: Pick<ImageBuild, 'imageId' | 'workspaceId' | 'attempt'>,
  ) {}

  /** Resolves when the next line may be printed. */
  async say(line: string): Promise<void> {
    if (this.#bytes > LOG_BYTES_MAX) return;
    this.#bytes += line.length;
    const text = this.#bytes > LOG_BYTES_MAX ? '… the rest of the log is not kept' : line;
    const { subject, headers, data } = encodeImageLog({
      ...this.build,
      time: new Date(),
      text: text.slice(0, LINE_LENGTH_MAX),
      end: false,
    });
    const sent: Promise<unknown> = this.bus.jetstream
      .publish(subject, data, { headers, timeout: SEND_MS })
      .catch(() => this.#lost++)
      .finally(() => this.#unsent.delete(sent));
    this.#unsent.add(sent);
    if (this.#unsent.size >= UNSENT_MAX) await Promise.race(this.#unsent);
  }

  /** Resolves when all of it is kept, or cannot be. */
  async end(): Promise<void> {
    if (this.#lost > 0) await this.say(`… ${this.#lost} lines were lost on their way`);
    await Promise.all(this.#unsent);
  }
}
