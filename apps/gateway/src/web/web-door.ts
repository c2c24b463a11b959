/**
 * Web requests: who answers, whether they are let in, and then one call for each, which holds the request until a
 * container takes it. The request itself stays here, in its session; the call carries only where to find it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { InvocationStatus, WebKind, type Web } from '@berth/contracts/functions/v1/functions';
import {
  FindWebFunctionResponse,
  ServeWebRequestResponse,
  WebFunctionsServiceService,
} from '@berth/contracts/functions/v1/web';
import { Upgrade } from '@berth/contracts/gateway/v1/web';
import { BerthError, Gauge, wasAnswered, type Logger } from '@berth/service-kit';
import { LRUCache } from 'lru-cache';
import { requestIdOf, traceparentOf } from '../forward';
import type { Peers } from '../peers/peers';
import { HttpProblem } from '../problem';
import type { WebBounds } from './bounds';
import type { Exchange } from './exchange';
import { failureOf, needsProxyToken, noEndpoint, stopping, tooMany } from './failures';
import type { Gate } from './gate';
import { requestHeaders } from './headers';
import { bodyTooLarge, HttpExchange } from './http-exchange';
import type { WebSession, WebSessions } from './session';
import { webTarget, type WebTarget } from './target';
import { isWebSocket, SocketExchange, TunnelExchange, refusalOn, type MessageBounds } from './upgrade';

export interface WebDoorOptions {
  /** Where runners dial this gateway. */
  address: string;
  /** As clients see it: their scheme is this one's. */
  publicUrl: URL;
  domain: string | undefined;
  bodyBytesMax: number;
}

export interface WebDoorContext {
  peers: Peers;
  /** The gateway's own token. */
  token: () => Promise<string>;
  gate: Gate;
  bounds: WebBounds;
  messages: MessageBounds;
  sessions: WebSessions;
  log: Logger;
}

interface Endpoint {
  functionId: string;
  workspaceId: string;
  web: Web;
}

/** As long as an input may wait and run: a week. Milliseconds. */
const SERVE_MS = 604_800_000;
const FIND_MS = 10_000;
/** What is said of an endpoint holds so long; what it costs is checked again with each call. */
const KEPT_MS = 2000;
const KEPT_MAX = 10_000;
const PATIENCE_MS = 60_000;

const heldGauge = new Gauge({
  name: 'berth_web_requests_held',
  help: 'Web requests whose response is not complete.',
});

export class WebDoor {
  readonly #kept = new LRUCache<string, Endpoint | BerthError>({ max: KEPT_MAX, ttl: KEPT_MS });
  #stopping = false;
  readonly #cut = new AbortController();

  constructor(
    private readonly options: WebDoorOptions,
    private readonly context: WebDoorContext,
  ) {}

  targetOf(request: IncomingMessage): WebTarget | undefined {
    return webTarget(request.url ?? '', request.headers.host, this.options.domain);
  }

  /** A plain request. */
  serve(request: IncomingMessage, response: ServerResponse, target: WebTarget): void {
    const requestId = requestIdOf(first(request.headers['x-request-id']));
    const { bodyBytesMax } = this.options;
    const exchange = new HttpExchange(request, response, {
      sharesOrigin: target.rootPath !== '',
      requestId,
      bodyBytesMax,
    });
    const encoding = request.headers['transfer-encoding'];
    if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') {
      // Where such a body ends is a matter of opinion (RFC 9112, 6.3).
      return exchange.fail(new HttpProblem('invalid', 'The body must be chunked, or have a length.', 400));
    }
    const length = Number(request.headers['content-length'] ?? 0);
    if (length > bodyBytesMax) return exchange.fail(bodyTooLarge(bodyBytesMax));
    void this.#run(request, target, requestId, Upgrade.UPGRADE_UNSPECIFIED, () => exchange);
  }

  /** A request to go on as something else. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, target: WebTarget): void {
    const options = {
      sharesOrigin: target.rootPath !== '',
      requestId: requestIdOf(first(request.headers['x-request-id'])),
    };
    if (!isWebSocket(request)) {
      socket.on('error', () => socket.destroy());
      const unread = new HttpProblem(
        'invalid',
        'Only an upgrade to WebSocket, version 13, is taken here.',
        426,
        {
          'sec-websocket-version': '13',
        },
      );
      return refusalOn(request, socket, options).fail(unread);
    }
    // Which of the two it is, depends on who answers; until then nothing is read of it.
    let exchange: Exchange | undefined;
    void this.#run(request, target, options.requestId, Upgrade.UPGRADE_WEBSOCKET, (kind) => {
      exchange ??=
        kind === WebKind.WEB_KIND_SERVER
          ? new TunnelExchange(request, socket, head, options)
          : new SocketExchange(request, socket, head, options, this.context.messages);
      return exchange;
    });
  }

  /** Takes no more. */
  stop(): void {
    this.#stopping = true;
  }

  /** Ends what is left. */
  cut(): void {
    this.context.sessions.failAll(stopping());
    this.#cut.abort(stopping());
  }

  async #run(
    request: IncomingMessage,
    target: WebTarget,
    requestId: string,
    asked: Upgrade,
    exchangeFor: (kind: WebKind | undefined) => Exchange,
  ): Promise<void> {
    let leave: (() => void) | undefined;
    let endpoint: Endpoint | undefined;
    try {
      if (this.#stopping) throw stopping();
      endpoint = await this.#find(target.label, requestId);
      const { web, functionId } = endpoint;
      let proxyWorkspaceId = '';
      let credentialId: string | undefined;
      if (web.requiresProxyAuth) {
        const token = await this.context.gate.tokenIn(request.headers);
        ({ workspaceId: proxyWorkspaceId, credentialId } = token);
        if (proxyWorkspaceId !== endpoint.workspaceId) throw needsProxyToken();
      }
      const isUpgrade = asked !== Upgrade.UPGRADE_UNSPECIFIED;
      if (isUpgrade && web.kind !== WebKind.WEB_KIND_ASGI && web.kind !== WebKind.WEB_KIND_SERVER) {
        throw new HttpProblem('invalid', 'This endpoint does not speak WebSocket.', 400);
      }
      leave = this.context.bounds.enter(functionId);
      if (!leave) throw tooMany();
      const exchange = exchangeFor(web.kind);
      const session = this.#open(request, target, requestId, web, isUpgrade, exchange, credentialId);
      heldGauge.inc();
      void session.over.finally(() => heldGauge.dec());
      this.#call(session, endpoint, target, proxyWorkspaceId, requestId, request);
      await session.over;
    } catch (error) {
      exchangeFor(endpoint?.web.kind).fail(this.#shown(error, requestId));
    } finally {
      leave?.();
    }
  }

  #open(
    request: IncomingMessage,
    target: WebTarget,
    requestId: string,
    web: Web,
    isUpgrade: boolean,
    exchange: Exchange,
    credentialId: string | undefined,
  ): WebSession {
    const { protocol } = this.options.publicUrl;
    const scheme = protocol.slice(0, -1);
    const { remoteAddress = '', remotePort = 0 } = request.socket;
    const clientHost = remoteAddress.replace(/^::ffff:/, '');
    const raw = isUpgrade && web.kind === WebKind.WEB_KIND_SERVER;
    const upgrade = raw
      ? Upgrade.UPGRADE_RAW
      : isUpgrade
        ? Upgrade.UPGRADE_WEBSOCKET
        : Upgrade.UPGRADE_UNSPECIFIED;
    const origin = { scheme, authority: target.authority, rootPath: target.rootPath, clientHost, requestId };
    return this.context.sessions.open(
      {
        method: request.method!,
        scheme,
        authority: target.authority,
        rootPath: target.rootPath,
        path: target.path,
        query: target.query,
        httpVersion: request.httpVersion,
        headers: requestHeaders(request.rawHeaders, origin, raw),
        clientHost,
        clientPort: remotePort,
        upgrade,
      },
      exchange,
      credentialId,
    );
  }

  /** Makes the call, and ends the session with it where no runner has done so. */
  #call(
    session: WebSession,
    { functionId }: Endpoint,
    target: WebTarget,
    proxyWorkspaceId: string,
    requestId: string,
    request: IncomingMessage,
  ): void {
    this.context.peers
      .unary({
        peer: 'functions',
        path: WebFunctionsServiceService.serveWebRequest.path,
        message: WebFunctionsServiceService.serveWebRequest.requestSerialize({
          functionId,
          sessionId: session.id,
          gatewayAddress: this.options.address,
          proxyWorkspaceId,
        }),
        token: this.context.token,
        requestId,
        idempotencyKey: session.id,
        traceparent: traceparentOf(first(request.headers.traceparent)),
        deadline: Date.now() + SERVE_MS,
        patienceMs: PATIENCE_MS,
        signal: AbortSignal.any([session.clientGone, this.#cut.signal]),
      })
      .then((bytes) => {
        const { invocation } = ServeWebRequestResponse.decode(bytes);
        const terminated = invocation?.status === InvocationStatus.INVOCATION_STATUS_TERMINATED;
        session.fail(failureOf(terminated ? 'cancelled' : (invocation?.error?.type ?? 'container_exited')));
      })
      .catch((error: unknown) => {
        if (session.isOver) return;
        if (isKind(error, 'not_found')) this.#kept.delete(target.label);
        session.fail(this.#shown(error, requestId));
      });
  }

  async #find(label: string, requestId: string): Promise<Endpoint> {
    const kept = this.#kept.get(label);
    if (kept instanceof BerthError) throw kept;
    if (kept) return kept;
    try {
      const bytes = await this.context.peers.unary({
        peer: 'functions',
        path: WebFunctionsServiceService.findWebFunction.path,
        message: WebFunctionsServiceService.findWebFunction.requestSerialize({ label }),
        token: this.context.token,
        requestId,
        idempotencyKey: undefined,
        traceparent: undefined,
        deadline: Date.now() + FIND_MS,
        patienceMs: FIND_MS,
        signal: undefined,
      });
      const { functionId, workspaceId, web } = FindWebFunctionResponse.decode(bytes);
      const endpoint = { functionId, workspaceId, web: web! };
      this.#kept.set(label, endpoint);
      return endpoint;
    } catch (error) {
      if (!isKind(error, 'not_found')) throw error;
      const missing = noEndpoint();
      this.#kept.set(label, missing);
      throw missing;
    }
  }

  /** The error as a stranger may see it. */
  #shown(error: unknown, requestId: string): BerthError {
    if (isKind(error, 'denied') || isKind(error, 'unauthenticated')) return needsProxyToken();
    if (isKind(error, 'not_found')) return noEndpoint();
    if (error instanceof HttpProblem) return error;
    if (error instanceof BerthError && error.kind !== 'internal') return error;
    if (!wasAnswered((error as { cause?: object }).cause ?? {})) {
      this.context.log.error({ err: error, requestId }, 'a web request failed');
    }
    return new BerthError(
      'internal',
      'Something went wrong inside Berth. The logs have it under this request id.',
    );
  }
}

const isKind = (error: unknown, kind: BerthError['kind']): boolean =>
  error instanceof BerthError && error.kind === kind;

const first = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value;
