import { runMain } from '@berth/service-kit';
import { runner } from './service';

void runMain(runner);
