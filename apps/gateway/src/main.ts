import { runMain } from '@berth/service-kit';
import { gateway } from './service';

void runMain(gateway);
