/** What stands behind the web door in its tests: functions that let a test answer its calls, identity's proxy tokens, and a runner. */
import { InvocationStatus, WebKind, InvocationResult } from '@berth/contracts/functions/v1/functions';
import {
  WebFunctionsServiceService,
  type ServeWebRequestRequest,
  type ServeWebRequestResponse,
} from '@berth/contracts/functions/v1/web';
import {
  WebServiceService,
  type AttachSessionRequest,
  type AttachSessionResponse,
} from '@berth/contracts/gateway/v1/web';
import { ProxyTokenServiceService } from '@berth/contracts/identity/v1/proxy_tokens';
import {
  BerthError,
  connect,
  defineService,
  implement,
  openTokens,
  type ServiceModule,
} from '@berth/service-kit';
import { eventually, type TestBed } from '@berth/testing';

export const WORKSPACE = 'wo-0000000000000000000001';
export const TOKEN = { id: 'wk-0000000000000000000001', secret: 'ws-secret' };

/** A call that the gateway made, and how it ends. */
export interface WebCall {
  request: ServeWebRequestRequest;
  /** Aborted when the gateway does not wait for it any more. */
  signal: AbortSignal;
  end(outcome?: Partial<InvocationResult>): void;
}

const KINDS: Record<string, WebKind> = {
  endpoint: WebKind.WEB_KIND_ENDPOINT,
  gated: WebKind.WEB_KIND_ENDPOINT,
  asgi: WebKind.WEB_KIND_ASGI,
  server: WebKind.WEB_KIND_SERVER,
};

/** Functions under the labels `endpoint`, `gated`, `asgi` and `server`, each its own. */
export function standInWebFunctions(): { module: ServiceModule; calls: WebCall[] } {
  const calls: WebCall[] = [];
  const handlers = {
    findWebFunction: async ({ label }: { label: string }) => {
      const kind = KINDS[label.replace(/-\d+$/, '')];
      if (kind === undefined) throw new BerthError('not_found', 'No.');
      const web = { kind, method: '', port: 0, requiresProxyAuth: label === 'gated' };
      return { functionId: `fu-${label}`, workspaceId: WORKSPACE, web };
    },
    serveWebRequest: (request: ServeWebRequestRequest, { signal }: { signal: AbortSignal }) =>
      new Promise<ServeWebRequestResponse>((resolve, reject) => {
        const end = (outcome: Partial<InvocationResult> = {}) =>
          resolve({
            invocation: InvocationResult.fromPartial({
              status: InvocationStatus.INVOCATION_STATUS_SUCCESS,
              ...outcome,
            }),
          });
        calls.push({ request, signal, end });
        signal.addEventListener('abort', () => reject(new BerthError('cancelled', 'gone')));
      }),
  };
  return {
    calls,
    module: defineService('functions', async () => ({
      services: [implement(WebFunctionsServiceService, handlers)],
      async [Symbol.asyncDispose]() {},
    })),
  };
}

export function standInProxyTokens(): { module: ServiceModule; asked: number } {
  const state = {
    asked: 0,
    module: defineService('identity', async () => ({
      services: [
        implement(ProxyTokenServiceService, {
          authenticateProxyToken: async ({ tokenId, tokenSecret }) => {
            state.asked++;
            if (tokenId === 'wk-other') return { workspaceId: 'wo-other', expiresAt: inAMinute() };
            if (tokenId !== TOKEN.id || tokenSecret !== TOKEN.secret) {
              throw new BerthError('unauthenticated', 'The proxy token is not valid.');
            }
            return { workspaceId: WORKSPACE, expiresAt: inAMinute() };
          },
          createProxyToken: () => Promise.reject(new BerthError('unimplemented', 'no')),
          listProxyTokens: () => Promise.reject(new BerthError('unimplemented', 'no')),
          revokeProxyToken: () => Promise.reject(new BerthError('unimplemented', 'no')),
        }),
      ],
      async [Symbol.asyncDispose]() {},
    })),
  };
  return state;
}

const inAMinute = () => new Date(Date.now() + 60_000);

export type Said = NonNullable<AttachSessionResponse['message']>;
export type Say = NonNullable<AttachSessionRequest['message']>;

/** One runner's line for one request. */
export class RunnerLine {
  readonly heard: Said[] = [];
  ended: 'open' | 'ok' | { code: number; details: string } = 'open';

  private constructor(
    private readonly stream: Awaited<ReturnType<ReturnType<typeof connectWeb>['attachSession']>>,
  ) {
    stream.on('data', ({ message }: AttachSessionResponse) => this.heard.push(message!));
    stream.on('error', (error: unknown) => (this.ended = error as { code: number; details: string }));
    stream.on('end', () => {
      if (this.ended === 'open') this.ended = 'ok';
    });
  }

  static async attach(bed: TestBed, { request }: WebCall, attempt = 1): Promise<RunnerLine> {
    const line = new RunnerLine(await connectWeb(bed).attachSession());
    line.say({ $case: 'hello', value: { sessionId: request.sessionId, attempt } });
    return line;
  }

  /** False: the gateway has no room for more just now. */
  say(message: Say): boolean {
    return this.stream.write({ message });
  }

  respond(status: number, headers: [string, string][] = [], body?: string): void {
    this.say({
      $case: 'head',
      value: { status, headers: headers.map(([name, value]) => ({ name, value })) },
    });
    if (body !== undefined) this.say({ $case: 'body', value: Buffer.from(body) });
    this.say({ $case: 'end', value: {} });
  }

  get head() {
    const [first] = this.heard;
    return first?.$case === 'head' ? first.value : undefined;
  }

  /** What came of the body. */
  get body(): string {
    return Buffer.concat(
      this.heard.flatMap((each) => (each.$case === 'body' ? [each.value] : [])),
    ).toString();
  }

  untilHeard(kind: Said['$case']): Promise<unknown> {
    return eventually(() => this.heard.some(({ $case }) => $case === kind));
  }

  untilEnded(): Promise<RunnerLine['ended']> {
    return eventually(() => this.ended !== 'open' && this.ended);
  }

  /** Stops to read. */
  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  /** As when the runner dies. */
  cut(): void {
    this.stream.cancel();
  }
}

const clients = new WeakMap<TestBed, ReturnType<typeof open>>();
const open = (bed: TestBed) =>
  connect(WebServiceService, bed.env.BERTH_GATEWAY_ADDRESS!, openTokens('runner', bed.env.BERTH_KEYS_DIR!));

function connectWeb(bed: TestBed): ReturnType<typeof open> {
  const known = clients.get(bed) ?? open(bed);
  clients.set(bed, known);
  return known;
}
