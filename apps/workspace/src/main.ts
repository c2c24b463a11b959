import { runMain } from '@berth/service-kit';
import { workspace } from './service';

void runMain(workspace);
