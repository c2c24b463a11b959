import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795543200000 } from '../migrations/20261124T180000-initial';
import { Volume1795606200000 } from '../migrations/20261125T113000-volume';
import { Tree, Volume, VolumeFileRow } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_sync',
  entities: [Tree, Volume, VolumeFileRow],
  migrations: [Initial1795543200000, Volume1795606200000],
};
