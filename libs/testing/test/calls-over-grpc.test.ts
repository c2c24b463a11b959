import { describeCalls } from './calls-between-services';

describeCalls('over gRPC');
