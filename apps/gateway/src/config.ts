import { z } from 'zod';
import { addressOf, numberVariable, readConfig } from '@berth/service-kit';

export interface Config {
  /** Where the public doors listen. */
  host: string;
  /** 0: any free port. */
  httpPort: number;
  grpcPort: number;
  natsUrl: string;
  /** Where each service that is asked is dialled. */
  peers: ReadonlyMap<string, string>;
  bodyBytesMax: number;
  web: WebConfig;
  /** A shell in which nothing is said for so long is ended. */
  shellIdleSeconds: number;
}

/** Of web endpoints. */
export interface WebConfig {
  /** Where runners dial this gateway. */
  address: string;
  /** As clients see this gateway; undefined: as it listens. */
  publicUrl: URL | undefined;
  /** Set: each endpoint is a host of its own below this one. */
  domain: string | undefined;
  bodyBytesMax: number;
  /** Of one message of a WebSocket. */
  messageBytesMax: number;
  /** Of the messages of all WebSockets that are not passed on yet. */
  messagesBytesMax: number;
  /** Of one function, at a time. */
  heldMax: number;
  /** Of one function. */
  ratePerSecond: number;
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export function readGatewayConfig(env: NodeJS.ProcessEnv, peers: Iterable<string>): Config {
  const values = readConfig(
    z.object({
      BERTH_HOST: z.string().min(1).default('127.0.0.1'),
      BERTH_HTTP_PORT: numberVariable(4600, 0, 65535),
      BERTH_GRPC_PORT: numberVariable(4601, 0, 65535),
      BERTH_NATS_URL: z.string('must be nats://user:password@host:port').min(1),
      // No more than a gRPC message carries.
      BERTH_BODY_BYTES_MAX: numberVariable(16 * MIB, 1024, 31 * MIB),
      BERTH_PUBLIC_URL: z
        .url({ protocol: /^https?$/, error: 'must be http://host:port or https://host' })
        .optional(),
      BERTH_WEB_DOMAIN: z.hostname('must be a host name, such as run.example.com').optional(),
      // It is streamed, never held.
      BERTH_WEB_BODY_BYTES_MAX: numberVariable(4 * GIB, 1024, Number.MAX_SAFE_INTEGER),
      BERTH_WEB_MESSAGE_BYTES_MAX: numberVariable(MIB, 1024, 16 * MIB),
      BERTH_WEB_MESSAGES_BYTES_MAX: numberVariable(64 * MIB, 16 * MIB, GIB),
      BERTH_WEB_HELD_MAX: numberVariable(1000, 1, 100_000),
      BERTH_SHELL_IDLE_SECONDS: numberVariable(1800, 1, 86_400),
      BERTH_WEB_RATE_MAX: numberVariable(1000, 1, 1_000_000),
    }),
    env,
  );
  return {
    host: values.BERTH_HOST,
    httpPort: values.BERTH_HTTP_PORT,
    grpcPort: values.BERTH_GRPC_PORT,
    natsUrl: values.BERTH_NATS_URL,
    peers: new Map([...peers].map((name) => [name, addressOf(name, env)])),
    bodyBytesMax: values.BERTH_BODY_BYTES_MAX,
    shellIdleSeconds: values.BERTH_SHELL_IDLE_SECONDS,
    web: {
      address: addressOf('gateway', env),
      publicUrl: values.BERTH_PUBLIC_URL ? new URL(values.BERTH_PUBLIC_URL) : undefined,
      domain: values.BERTH_WEB_DOMAIN?.toLowerCase(),
      bodyBytesMax: values.BERTH_WEB_BODY_BYTES_MAX,
      messageBytesMax: values.BERTH_WEB_MESSAGE_BYTES_MAX,
      messagesBytesMax: values.BERTH_WEB_MESSAGES_BYTES_MAX,
      heldMax: values.BERTH_WEB_HELD_MAX,
      ratePerSecond: values.BERTH_WEB_RATE_MAX,
    },
  };
}
