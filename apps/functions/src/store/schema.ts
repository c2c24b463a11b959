import type { ServiceSchema } from '@berth/service-kit';
import { Bound1795609800000 } from '../migrations/20261125T123000-bound';
import { Definition1795604400000 } from '../migrations/20261125T110000-definition';
import { Images1795608000000 } from '../migrations/20261125T120000-images';
import { Items1795607100000 } from '../migrations/20261125T114500-items';
import { Lifecycle1795605120000 } from '../migrations/20261125T111200-lifecycle';
import { SchedulesAndWebhooks1795606500000 } from '../migrations/20261125T113500-schedules-and-webhooks';
import { Initial1795593600000 } from '../migrations/20261125T080000-initial';
import { WebLabel1795605300000 } from '../migrations/20261125T111500-web-label';
import { Minimum1795612500000 } from '../migrations/20261125T131500-minimum';
import { Map1795606200000 } from '../migrations/20261125T113000-map';
import { Blob1795608900000 } from '../migrations/20261125T121500-blob';
import { Shell1795611000000 } from '../migrations/20261125T125000-shell';
import {
  App,
  Call,
  Deployment,
  Func,
  FunctionVersion,
  Image,
  Input,
  Item,
  Pool,
  ScheduleRow,
  Shell,
  WebhookRow,
} from './entities';

export const schema: ServiceSchema = {
  schema: 'berth_functions',
  entities: [
    App,
    Deployment,
    Func,
    FunctionVersion,
    Pool,
    Call,
    Input,
    Item,
    Image,
    ScheduleRow,
    WebhookRow,
    Shell,
  ],
  migrations: [
    Initial1795593600000,
    Definition1795604400000,
    Lifecycle1795605120000,
    WebLabel1795605300000,
    Map1795606200000,
    SchedulesAndWebhooks1795606500000,
    Items1795607100000,
    Images1795608000000,
    Blob1795608900000,
    Bound1795609800000,
    Shell1795611000000,
    Minimum1795612500000,
  ],
};
