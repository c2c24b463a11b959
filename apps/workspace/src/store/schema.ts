import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795543200000 } from '../migrations/20261124T180000-initial';
import { Secret1795605600000 } from '../migrations/20261125T112000-secret';
import { Environment, Secret, Workspace } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_workspace',
  entities: [Workspace, Environment, Secret],
  migrations: [Initial1795543200000, Secret1795605600000],
};
