import { runMain } from '@berth/service-kit';
import { identity } from './service';

void runMain(identity);
