import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, type ContainerEngine } from '@berth/container-engine';

/**
 * The layers of builds that are under way. They have no name, so whoever dies with a build leaves them where nobody would
 * find them: they are written down before the build goes on.
 */
export class UnfinishedBuilds {
  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  note(imageId: string, layer: string): void {
    appendFileSync(join(this.folder, imageId), `${layer}\n`, { mode: 0o600 });
  }

  async forget(imageId: string): Promise<void> {
    await rm(join(this.folder, imageId), { force: true });
  }

  /** This is about to be pulled with a secret: under that name anybody would find it. */
  notePull(reference: string): void {
    writeFileSync(join(this.folder, pullFile(reference)), reference, { mode: 0o600 });
  }

  /** It no longer has that name. */
  async forgetPull(reference: string): Promise<void> {
    await this.forget(pullFile(reference));
  }

  /** Takes away what builds of an earlier process left, but for layers that an image has. */
  async removeLeftovers(engine: Pick<ContainerEngine, 'findImage' | 'removeImage'>): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    for (const imageId of await readdir(this.folder)) {
      if (imageId.startsWith(PULL)) {
        await engine.removeImage(await readFile(join(this.folder, imageId), 'utf8'));
        await this.forget(imageId);
        continue;
      }
      const layers = (await readFile(join(this.folder, imageId), 'utf8')).split('\n').filter(Boolean);
      for (const layer of layers.reverse()) await removeLayer(engine, layer);
      await this.forget(imageId);
    }
  }
}

const PULL = 'pull-';
const pullFile = (reference: string) => PULL + createHash('sha256').update(reference).digest('hex');

/** Removes a layer that nothing is made of and nobody has named. */
async function removeLayer(
  engine: Pick<ContainerEngine, 'findImage' | 'removeImage'>,
  layer: string,
): Promise<void> {
  const found = await engine.findImage(layer);
  if (!found || found.tags.length > 0) return;
  try {
    await engine.removeImage(layer);
  } catch (error) {
    if (!(error instanceof EngineError && error.kind === 'conflict')) throw error;
  }
}
