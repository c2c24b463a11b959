import { GatewayServiceService } from '@berth/contracts/gateway/v1/gateway';
import { ShellServiceService } from '@berth/contracts/gateway/v1/shell';
import { WebServiceService } from '@berth/contracts/gateway/v1/web';
import { defineService, implement, type RunningService, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { attachSession } from './rpc/attach-session';
import { attachShell } from './rpc/attach-shell';
import { getPlatform } from './rpc/get-platform';

/** The gateway with its public doors open. */
export interface RunningGateway extends RunningService {
  /** `http://host:port` */
  httpUrl: string;
  /** `host:port` */
  grpcUrl: string;
}

export const gateway: ServiceModule & { start(env: NodeJS.ProcessEnv): Promise<RunningGateway> } = {
  name: 'gateway',
  async start(env) {
    let urls: { httpUrl: string; grpcUrl: string } | undefined;
    const service = defineService('gateway', async (base) => {
      const context = await createContext(base);
      return {
        services: [
          implement(GatewayServiceService, { getPlatform: getPlatform(context.peers, context.version) }),
          implement(WebServiceService, { attachSession: attachSession(context.webSessions) }),
          implement(ShellServiceService, { attachShell: attachShell(context.shells) }),
        ],
        async begin() {
          const { http, grpc } = await context.open();
          urls = { httpUrl: http.url, grpcUrl: grpc.url };
        },
        drain: () => context.close(),
        [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
      };
    });
    const running = await service.start(env);
    return { ...running, ...urls! };
  },
};
