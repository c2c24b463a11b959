import { runMain } from '@berth/service-kit';
import { sync } from './service';

void runMain(sync);
