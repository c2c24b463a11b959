import type { ServiceSchema } from '@berth/service-kit';
import { Definition1795604400000 } from '../migrations/20261125T110000-definition';
import { Initial1795593600000 } from '../migrations/20261125T080000-initial';
import { App, Call, Func, FunctionVersion, Input, Pool } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_functions',
  entities: [App, Func, FunctionVersion, Pool, Call, Input],
  migrations: [Initial1795593600000, Definition1795604400000],
};
