import { runMain } from '@berth/service-kit';
import { modules } from './modules';

void runMain(...modules);
