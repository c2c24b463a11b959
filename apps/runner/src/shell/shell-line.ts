/** The line to the gateway on which one shell's input comes and its output goes. */
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { AttachShellRequest, AttachShellResponse, ShellStart } from '@berth/contracts/gateway/v1/shell';
import type { Shell } from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, fromServiceError } from '@berth/service-kit';
import { Backoff } from '../files/backoff';
import type { Gateways } from '../web/gateways';

type FromGateway = NonNullable<AttachShellResponse['message']>;
type ToGateway = NonNullable<AttachShellRequest['message']>;

/** How long a gateway that does not answer is tried: one that was restarted has forgotten the shell. */
const PATIENCE_MS = 10_000;

export class ShellLine {
  readonly #messages: AsyncIterator<AttachShellResponse>;

  private constructor(private readonly stream: ClientDuplexStream<AttachShellRequest, AttachShellResponse>) {
    stream.on('error', () => undefined); // Whoever reads or writes hears of it.
    this.#messages = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<AttachShellResponse>;
  }

  /** Takes the shell; undefined where nobody is at it any more. Errors: `unavailable` when its gateway is not there. */
  static async open(
    gateways: Gateways,
    { shellId, gatewayAddress }: Shell,
    containerId: string,
    signal: AbortSignal,
  ): Promise<{ line: ShellLine; start: ShellStart } | undefined> {
    const until = Date.now() + PATIENCE_MS;
    const backoff = new Backoff(50, 1000);
    while (!signal.aborted) {
      const line = new ShellLine(await gateways.shellsAt(gatewayAddress).attachShell());
      const cancel = () => line.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        await line.write({ $case: 'hello', value: { shellId, containerId } });
        const first = await line.read();
        if (first?.$case === 'start') return { line, start: first.value };
        line.cancel();
        return undefined;
      } catch (error) {
        line.cancel();
        if (signal.aborted || !(error instanceof BerthError)) return undefined;
        if (error.kind !== 'unavailable') return undefined;
        if (Date.now() > until) throw error;
        await backoff.wait(signal);
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    }
    return undefined;
  }

  /** The next thing that the gateway says; undefined at its end. Throws a BerthError where the line breaks. */
  async read(): Promise<FromGateway | undefined> {
    try {
      const { done, value } = await this.#messages.next();
      return done ? undefined : value.message;
    } catch (error) {
      throw fromServiceError(error);
    }
  }

  /** Resolves when it is on its way, or never will be: one piece at a time is. */
  async write(message: ToGateway): Promise<void> {
    const { stream } = this;
    if (stream.destroyed || stream.writableEnded) return;
    await new Promise<void>((resolve) => {
      stream.once('close', resolve);
      stream.write({ message }, () => {
        stream.off('close', resolve);
        resolve();
      });
    });
  }

  /** Nothing more is said. */
  end(): void {
    this.stream.end();
  }

  cancel(): void {
    this.stream.cancel();
  }
}
