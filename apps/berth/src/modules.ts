import type { ServiceModule } from '@berth/service-kit';

/**
 * Every service, in the order in which they start in one process: whoever depends on a peer comes after it. They
 * stop the other way round.
 */
export const modules: ServiceModule[] = [];
