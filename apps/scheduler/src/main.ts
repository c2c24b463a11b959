import { runMain } from '@berth/service-kit';
import { scheduler } from './service';

void runMain(scheduler);
