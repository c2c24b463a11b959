import { RunnerServiceService } from '@berth/contracts/runner/v1/runner';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { getRunner } from './rpc/get-runner';

export const runner: ServiceModule = defineService('runner', async (base) => {
  const context = await createContext(base);
  return {
    services: [implement(RunnerServiceService, { getRunner: getRunner(context) })],
    begin: () => context.begin(),
    drain: () => context.end(),
    [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
  };
});
