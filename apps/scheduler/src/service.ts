import { SchedulerServiceService } from '@berth/contracts/scheduler/v1/scheduler';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext, type Overrides } from './context';
import { getContainerOwner } from './rpc/get-container-owner';
import { heartbeat } from './rpc/heartbeat';
import { listAssignments } from './rpc/list-assignments';
import { listContainers } from './rpc/list-containers';
import { listNodes } from './rpc/list-nodes';
import { registerNode } from './rpc/register-node';
import { reportContainer } from './rpc/report-container';
import { setWish } from './rpc/set-wish';
import { schema } from './store/schema';

/** The service with a clock of its own, for tests; `scheduler` is the one that runs. */
export const schedulerWith = (overrides: Overrides): ServiceModule =>
  defineService(
    'scheduler',
    async (base) => {
      const context = await createContext(base, overrides);
      return {
        services: [
          implement(SchedulerServiceService, {
            setWish: setWish(context),
            registerNode: registerNode(context),
            heartbeat: heartbeat(context),
            listAssignments: listAssignments(context),
            reportContainer: reportContainer(context),
            listContainers: listContainers(context),
            listNodes: listNodes(context),
            getContainerOwner: getContainerOwner(context),
          }),
        ],
        async begin() {
          context.relay.start();
          for (const loop of context.loops) loop.start();
        },
        [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
      };
    },
    schema,
  );

export const scheduler: ServiceModule = schedulerWith({});
