import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795595400000 } from '../migrations/20261125T083000-initial';
import { UsageInterval } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_billing',
  entities: [UsageInterval],
  migrations: [Initial1795595400000],
};
