import { describeRunner } from './behaviour';

// Where no Docker Engine answers there is nothing to try on.
const host = process.env.DOCKER_HOST;
(host ? describe : describe.skip)('on docker', () => describeRunner('docker'));
