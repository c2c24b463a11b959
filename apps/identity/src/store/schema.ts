import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795543200000 } from '../migrations/20261124T180000-initial';
import { ProxyToken1795605600000 } from '../migrations/20261125T112000-proxy-token';
import { AdminKey, ApiToken, AppUser, AuditLog, Membership, Organization, ProxyToken } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_identity',
  entities: [Organization, AppUser, Membership, ApiToken, ProxyToken, AdminKey, AuditLog],
  migrations: [Initial1795543200000, ProxyToken1795605600000],
};
