import type { ServiceModule } from '@berth/service-kit';
import { billing } from '@berth/apps/billing';
import { functions } from '@berth/apps/functions';
import { gateway } from '@berth/apps/gateway';
import { identity } from '@berth/apps/identity';
import { runner } from '@berth/apps/runner';
import { scheduler } from '@berth/apps/scheduler';
import { sync } from '@berth/apps/sync';
import { workspace } from '@berth/apps/workspace';

/**
 * Every service, in the order in which they start in one process: whoever depends on a peer comes after it. They
 * stop the other way round.
 */
export const modules: ServiceModule[] = [
  identity,
  sync,
  billing,
  workspace,
  scheduler,
  functions,
  runner,
  gateway,
];
