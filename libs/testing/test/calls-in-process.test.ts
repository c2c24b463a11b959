import { allowLocalCalls } from '@berth/service-kit';
import { describeCalls } from './calls-between-services';

allowLocalCalls();
describeCalls('inside one process');
