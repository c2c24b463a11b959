import type { ServiceSchema } from '@berth/service-kit';
import { Initial1795593600000 } from '../migrations/20261125T080000-initial';
import { Container, Device, Node, Wish } from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_scheduler',
  entities: [Node, Wish, Container, Device],
  migrations: [Initial1795593600000],
};
