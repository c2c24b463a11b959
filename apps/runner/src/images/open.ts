import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineDescription } from '@berth/container-engine';
import type { Config } from '../config';
import { NodeImages, type BuildSettings, type NodeImagesTools } from './node-images';
import { UnfinishedBuilds } from './unfinished-builds';
import { UsedImages } from './used-images';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Of a build where nobody says more, unless the machine is small. MiB. */
const MEMORY_MIB = 4096;

/** Builds run beside containers, so by default each leaves half of the machine to them. */
export const buildSettings = (
  builds: Config['builds'],
  { cpus, memoryBytes }: Pick<EngineDescription, 'cpus' | 'memoryBytes'>,
): BuildSettings => ({
  network: {
    certificates: builds.certificatesFile ? readFileSync(builds.certificatesFile, 'utf8') : undefined,
    pipIndexUrl: builds.pipIndexUrl,
    npmRegistryUrl: builds.npmRegistryUrl,
  },
  proxies: builds.proxies,
  memoryMib: builds.memoryMib ?? Math.min(MEMORY_MIB, Math.floor(memoryBytes / 2 / MIB)),
  cpus: builds.cpus ?? Math.max(1, cpus / 2),
  keptBytesMax: builds.keptGib * GIB,
});

/** Begins with what an earlier process built; what it had not finished is removed. */
export async function openNodeImages(
  tools: Omit<NodeImagesTools, 'used' | 'unfinished' | 'settings'>,
  folder: string,
  settings: BuildSettings,
): Promise<NodeImages> {
  const used = await UsedImages.open(join(folder, 'used'), tools.engine, tools.log);
  const unfinished = new UnfinishedBuilds(join(folder, 'unfinished'));
  await unfinished
    .removeLeftovers(tools.engine)
    .catch((error: unknown) => tools.log.warn({ err: error }, 'layers of unfinished builds are left'));
  return new NodeImages({ ...tools, used, unfinished, settings });
}
