import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795543200000 } from '../migrations/20261124T180000-initial';
import { Tree } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_sync',
  entities: [Tree],
  migrations: [Initial1795543200000],
};
