import { BillingServiceService } from '@berth/contracts/billing/v1/billing';
import type { Consumption } from '@berth/events';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { consumeUsage } from './loops/usage-events';
import { listUsage } from './rpc/list-usage';
import { schema } from './store/schema';

export const billing: ServiceModule = defineService(
  'billing',
  async (base) => {
    const context = await createContext(base);
    let usage: Consumption | undefined;
    return {
      services: [implement(BillingServiceService, { listUsage: listUsage(context) })],
      async begin() {
        usage = await consumeUsage(context);
      },
      async [Symbol.asyncDispose]() {
        await usage?.stop();
        await context[Symbol.asyncDispose]();
      },
    };
  },
  schema,
);
