import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795543200000 } from '../migrations/20261124T180000-initial';
import { AdminKey, ApiToken, AppUser, AuditLog, Membership, Organization } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_identity',
  entities: [Organization, AppUser, Membership, ApiToken, AdminKey, AuditLog],
  migrations: [Initial1795543200000],
};
