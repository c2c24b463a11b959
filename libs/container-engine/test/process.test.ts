import { describeEngine } from './conformance';

describeEngine('process');
