import type { MsgHdrs, NatsConnection } from '@nats-io/transport-node';
import { encodeLog, type LogMessage } from '@berth/events';
import { linesOf } from '../domain/log-lines';
import { logLinesDropped } from '../metrics';

/** Bytes of one container that may be on their way; what it prints beyond is dropped, and counted. */
const UNSENT_BYTES_MAX = 1024 * 1024;
/** From here on the server is asked to say that it has read what was sent. */
const CONFIRM_BYTES = 128 * 1024;
/** Headers, subject and the client's own book-keeping of one line. */
const LINE_BYTES = 256;

/**
 * What one container prints, on its way out. Never waits and never fails: results come behind it on the worker's
 * socket. A program that prints faster than it can be sent loses lines and is told how many.
 */
export class LogPipe {
  #unsentBytes = 0;
  #confirming: Promise<void> | undefined;
  #dropped = 0;

  constructor(
    private readonly nats: NatsConnection,
    private readonly of: Pick<LogMessage, 'workspaceId' | 'appId' | 'functionId' | 'containerId'>,
  ) {}

  print(stream: LogMessage['stream'], bytes: Buffer, callId: string, time = new Date()): void {
    // One piece has one subject and one set of headers, however many lines it has.
    const { subject, headers } = encodeLog({ ...this.of, stream, callId, time, text: '' });
    for (const line of linesOf(bytes)) {
      const data = Buffer.from(line);
      if (this.#unsentBytes + data.length > UNSENT_BYTES_MAX) this.#dropped++;
      else this.#publish(subject, headers, data);
    }
    if (this.#unsentBytes > CONFIRM_BYTES) this.#confirm();
  }

  /** Resolves when the server has read what was printed, or cannot. */
  async end(): Promise<void> {
    this.#confirm();
    while (this.#confirming) await this.#confirming;
  }

  #publish(subject: string, headers: MsgHdrs, data: Uint8Array): void {
    if (this.nats.isClosed()) return;
    try {
      this.nats.publish(subject, data, { headers });
      this.#unsentBytes += data.length + LINE_BYTES;
    } catch {
      this.#dropped++;
    }
  }

  #confirm(): void {
    if (this.#confirming || this.nats.isClosed()) return;
    const before = this.#unsentBytes;
    this.#confirming = this.nats
      .flush()
      // A line that broke has thrown away what was not sent: it weighs no more either.
      .catch(() => undefined)
      .then(() => {
        this.#confirming = undefined;
        this.#unsentBytes -= before;
        this.#sayDropped();
        if (this.#unsentBytes > CONFIRM_BYTES) this.#confirm();
      });
  }

  #sayDropped(): void {
    if (this.#dropped === 0) return;
    const text = `… ${this.#dropped} lines were dropped: printed faster than they could be sent`;
    logLinesDropped.inc(this.#dropped);
    this.#dropped = 0;
    const { subject, headers, data } = encodeLog({
      ...this.of,
      stream: 'stderr',
      callId: '',
      time: new Date(),
      text,
    });
    this.#publish(subject, headers, data);
  }
}
