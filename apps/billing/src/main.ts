import { runMain } from '@berth/service-kit';
import { billing } from './service';

void runMain(billing);
