import { join } from 'node:path';
import { BASE_IMAGE, connectDocker, ensureBaseImages } from '@berth/container-engine';
import type { Step } from '../up/first-run';

/** Makes the image that functions run in, on the engine of `DOCKER_HOST`. Safe to repeat. */
export const images: Step = async (env, say) => {
  const { docker, agent } = connectDocker(env.DOCKER_HOST ?? 'unix:///var/run/docker.sock');
  try {
    const cacheDir = join(env.BERTH_DATA_DIR ?? '.berth', 'cache/images');
    say(`${BASE_IMAGE} is ${await ensureBaseImages(docker, { log: say, cacheDir })}`);
  } finally {
    agent.destroy();
  }
};
