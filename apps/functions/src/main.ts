import { runMain } from '@berth/service-kit';
import { functions } from './service';

void runMain(functions);
