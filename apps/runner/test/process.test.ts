import { describeRunner } from './behaviour';

describeRunner('process');
