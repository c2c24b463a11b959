/** The public gRPC door: one server; what it serves is given to it. */
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { MESSAGE_BYTES_MAX, reflectionOn } from '@berth/service-kit';

export interface DoorService {
  /** `berth.functions.v1.FunctionsService` */
  name: string;
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
  /** Shown by reflection and health. */
  listed: boolean;
}

export interface GrpcDoor {
  /** `host:port`, with the port that was given for port 0. */
  url: string;
  /** Says NOT_SERVING, takes no more calls, lets those in flight end for `graceMs`, then cuts them. */
  stop(graceMs: number): Promise<void>;
}

export async function openGrpcDoor(
  host: string,
  port: number,
  services: readonly DoorService[],
): Promise<GrpcDoor> {
  const server = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  });
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  const listed = services.filter((service) => service.listed).map(({ name }) => name);
  const health = new HealthImplementation(
    Object.fromEntries(['', ...listed].map((name) => [name, 'SERVING' as const])),
  );
  health.addToServer(server);
  reflectionOn(listed).addToServer(server);

  const address = host.includes(':') ? `[${host}]` : host;
  const bound = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`${address}:${port}`, ServerCredentials.createInsecure(), (cause, given) =>
      cause
        ? reject(
            new Error(`${address}:${port} cannot be bound: set BERTH_GRPC_PORT to a free port.`, { cause }),
          )
        : resolve(given),
    ),
  );

  return {
    url: `${address}:${bound}`,
    stop: (graceMs) =>
      new Promise((resolve) => {
        for (const name of ['', ...listed]) health.setStatus(name, 'NOT_SERVING');
        const cut = setTimeout(() => server.forceShutdown(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      }),
  };
}
