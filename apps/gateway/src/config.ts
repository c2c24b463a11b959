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
}

const MIB = 1024 * 1024;

export function readGatewayConfig(env: NodeJS.ProcessEnv, peers: Iterable<string>): Config {
  const values = readConfig(
    z.object({
      BERTH_HOST: z.string().min(1).default('127.0.0.1'),
      BERTH_HTTP_PORT: numberVariable(4600, 0, 65535),
      BERTH_GRPC_PORT: numberVariable(4601, 0, 65535),
      BERTH_NATS_URL: z.string('must be nats://user:password@host:port').min(1),
      // No more than a gRPC message carries.
      BERTH_BODY_BYTES_MAX: numberVariable(16 * MIB, 1024, 31 * MIB),
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
  };
}
