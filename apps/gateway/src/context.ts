import { version } from '../../../package.json';
import { IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { BerthError, connect, type Base } from '@berth/service-kit';
import { readGatewayConfig } from './config';
import { isContainerToken, openContainerTokens } from './credentials/container-tokens';
import { hearRevocations } from './credentials/revocations';
import { openSessions, type CallerSession } from './credentials/sessions';
import type { Credential } from './credentials/credential';
import { openGrpcDoor, type GrpcDoor } from './grpc-door/door';
import { proxyServices } from './grpc-door/proxy';
import { openHttpDoor, type HttpDoor } from './http-door';
import { openPeers, type Peers } from './peers/peers';
import { publicMethods } from './public-methods';
import { HeldShells } from './shell/held-shell';
import { ShellDoor } from './shell/shell-door';
import { webBounds } from './web/bounds';
import { openGate } from './web/gate';
import { MessageBudget } from './web/message-budget';
import { WebSessions } from './web/session';
import { WebDoor } from './web/web-door';

export interface Context extends AsyncDisposable {
  version: string;
  peers: Peers;
  /** Web requests that are held. */
  webSessions: WebSessions;
  /** Shells that are held. */
  shells: HeldShells;
  /** Opens the public doors. */
  open(): Promise<{ http: HttpDoor; grpc: GrpcDoor }>;
  /** Closes them: health first, then no new requests, then what still runs is told to come back. */
  close(): Promise<void>;
}

/** Milliseconds that requests in flight get when the gateway stops. */
const STOP_GRACE_MS = 2500;

export async function createContext({ env, log, tokens }: Base): Promise<Context> {
  const methods = publicMethods();
  const config = readGatewayConfig(env, new Set(['identity', ...methods.map(({ peer }) => peer)]));
  const peers = openPeers(config.peers);
  const identity = connect(IdentityServiceService, config.peers.get('identity')!, tokens);

  const containerTokens = openContainerTokens(tokens);
  const authenticate = async (credential: Credential): Promise<CallerSession> => {
    if (isContainerToken(credential)) return containerTokens.open(credential.secret);
    const { principal, internalToken, expiresAt } = await identity.authenticate({
      credential: { $case: credential.as === 'apiKey' ? 'apiKey' : 'bearer', value: credential.secret },
    });
    if (!principal || !expiresAt) throw new BerthError('internal', 'Identity answered without a principal.');
    return { credentialId: principal.credentialId, internalToken, expiresAt };
  };
  const sessions = openSessions(authenticate, log);
  const gate = openGate(config.peers.get('identity')!, tokens, log);
  const webSessions = new WebSessions();
  const shells = new HeldShells();
  const bus = await hearRevocations(
    config.natsUrl,
    [sessions, gate.cache],
    webSessions,
    containerTokens,
    log,
  );

  let http: HttpDoor | undefined;
  let grpc: GrpcDoor | undefined;
  const close = async () => {
    http?.sayStopping();
    await Promise.all([http?.stop(STOP_GRACE_MS), grpc?.stop(STOP_GRACE_MS)]);
  };

  return {
    version,
    peers,
    webSessions,
    shells,
    async open() {
      const { host, httpPort, grpcPort, bodyBytesMax } = config;
      const waiting = new Set<AbortController>();
      const web = new WebDoor(
        {
          ...config.web,
          publicUrl: config.web.publicUrl ?? new URL(`http://${host.includes(':') ? `[${host}]` : host}`),
        },
        {
          peers,
          token: () => tokens.sign({ kind: 'service', service: tokens.service }),
          gate,
          bounds: webBounds(config.web),
          messages: {
            bytesMax: config.web.messageBytesMax,
            budget: new MessageBudget(config.web.messagesBytesMax),
          },
          sessions: webSessions,
          log,
        },
      );
      const shell = new ShellDoor(
        { address: config.web.address, idleSeconds: config.shellIdleSeconds },
        { peers, sessions, shells, log },
      );
      http = await openHttpDoor(
        { host, port: httpPort, bodyBytesMax, version, methods, web, shell },
        { peers, sessions, log, waiting },
      );
      grpc = await openGrpcDoor(host, grpcPort, proxyServices(methods, { peers, sessions, log }));
      log.info({ http: http.url, grpc: grpc.url }, 'the public doors are open');
      return { http, grpc };
    },
    close,
    async [Symbol.asyncDispose]() {
      await close();
      identity.close();
      gate.close();
      await peers[Symbol.asyncDispose]();
      await bus[Symbol.asyncDispose]();
    },
  };
}
