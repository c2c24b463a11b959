import { resolve } from 'node:path';
import type { Berth, ImageDefinition } from '@berth/sdk';

export type ImageProgress = (name: string, line: string) => void;

/** A function as its source describes it: its image may be said as what it is made of. */
export interface Described {
  name: string;
  image?: string | ImageDefinition | undefined;
}

/**
 * Has the images built that functions say by what they are made of, each once, and names them by their ids: whoever deploys
 * sees the log, and hears at once what cannot be built.
 */
export async function buildImages<F extends Described>(
  berth: Berth,
  functions: readonly F[],
  folder: string,
  onLine: ImageProgress = showImageLine,
): Promise<(Omit<F, 'image'> & { image?: string })[]> {
  const built = new Map<string, string>();
  const resolved: (Omit<F, 'image'> & { image?: string })[] = [];
  for (const { image, ...rest } of functions) {
    if (image === undefined || typeof image === 'string') {
      resolved.push({ ...rest, ...(image === undefined ? {} : { image }) });
      continue;
    }
    const key = JSON.stringify(image);
    let imageId = built.get(key);
    if (!imageId) {
      const made = await berth.images.build(within(folder, image), {
        onLine: ({ text }) => onLine(rest.name, text),
      });
      imageId = made.image_id;
      built.set(key, imageId);
    }
    resolved.push({ ...rest, image: imageId });
  }
  return resolved;
}

/** The folders that a definition names, as they are seen from where it is written. */
function within(folder: string, { context, steps, ...rest }: ImageDefinition): ImageDefinition {
  const isTree = (text: string) => /^tr-[0-9A-Za-z]{22}$/.test(text);
  return {
    ...rest,
    ...(context ? { context: isTree(context) ? context : resolve(folder, context) } : {}),
    ...(steps
      ? {
          steps: steps.map((step) =>
            'copy' in step && step.copy.from !== undefined
              ? { copy: { ...step.copy, from: resolve(folder, step.copy.from) } }
              : step,
          ),
        }
      : {}),
  };
}

export function showImageLine(name: string, line: string): void {
  process.stderr.write(`${name} │ ${line}\n`);
}
