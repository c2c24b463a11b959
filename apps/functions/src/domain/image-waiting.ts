import type { ImageError, ImageState } from './image-state';

interface Facts {
  id: string;
  state: ImageState;
  attempt: number;
  error: ImageError | null;
}

/** Why an image is not being built yet, and what would start it; undefined when it does not wait. */
export function explainImage({ state, attempt }: Facts): string | undefined {
  if (state !== 'queued') return undefined;
  return attempt === 0
    ? 'It is the turn of builds before it, or no node with Docker is there: it begins when one is free.'
    : 'It begins when a node with Docker is free.';
}

/** Why calls of a function wait for its image; undefined where they need not, or would wait in vain. */
export function explainImageOfCall({ id, state }: Facts): string | undefined {
  if (state === 'queued') return `Its image ${id} waits for a node that builds it: berth image logs ${id}.`;
  if (state === 'building') return `Its image ${id} is being built: berth image logs ${id} --follow.`;
  return undefined;
}

/** What became of an image that no container can be made from. `undefined`: it was deleted. */
export const imageFailure = (id: string, image: Facts | undefined): { type: string; message: string } => ({
  type: 'image_failed',
  message: image
    ? `The function's image ${id} could not be built: ${image.error?.message ?? ''} Its log: berth image logs ${id}.`
    : `The function's image ${id} was deleted: build it again, and deploy the function with it.`,
});
