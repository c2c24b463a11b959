import type { Berth } from '@berth/sdk';
import colors from 'picocolors';

interface Image {
  image_id: string;
  state: 'building' | 'ready' | 'failed';
  error: { type: string; message: string; step_text: string; log_tail: string[] } | null;
}

/** Builds the images of one deployment: each definition once, one after the other. */
export function imagesOf(berth: Berth): { build(definition: Record<string, unknown>): Promise<string> } {
  const built = new Map<string, string>();
  return {
    /** Gives the id of the image when it is there; its log goes to stderr. Throws with the step that failed. */
    async build(definition) {
      const key = JSON.stringify(definition);
      const earlier = built.get(key);
      if (earlier) return earlier;
      const body = await uploaded(berth, definition);
      const { image_id, state } = await berth.http.json<Image>('POST', '/v1/images', { body });
      if (state !== 'ready') await follow(berth, image_id);
      built.set(key, image_id);
      return image_id;
    },
  };
}

async function follow(berth: Berth, imageId: string): Promise<void> {
  const path = `/v1/images/${encodeURIComponent(imageId)}`;
  console.error(`Building the image ${imageId}`);
  for (;;) {
    for await (const { text } of berth.http.lines<{ text: string }>(`${path}/logs`, {
      query: { follow: true },
    })) {
      console.error(colors.dim(text));
    }
    const { state, error } = await berth.http.json<Image>('GET', path);
    if (state === 'ready') return;
    if (state === 'failed') {
      const step = error?.step_text ? ` (in ${error.step_text})` : '';
      throw new Error(`The image could not be built${step}: ${error?.message ?? 'its log has the reason.'}`);
    }
  }
}

/** A definition as a file gives it: folders of this machine stand where the ids of trees belong. */
interface LocalDefinition {
  context?: { local: string };
  steps?: { copy?: { local?: string; to: string } }[];
}

async function uploaded(berth: Berth, definition: LocalDefinition): Promise<object> {
  const treeOf = async (folder: string) => (await berth.trees.upload(folder)).tree_id;
  const { context, steps = [] } = definition;
  const done: object[] = [];
  for (const step of steps) {
    const { local, to } = step.copy ?? {};
    done.push(local === undefined ? step : { copy: { tree: await treeOf(local), to } });
  }
  return { ...definition, steps: done, ...(context ? { context: await treeOf(context.local) } : {}) };
}
