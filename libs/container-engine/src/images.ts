/** Every base image's alias; the content-hashed tag beside it is what `tools/images` builds. */
export const BASE_IMAGE = 'berth/base:stable';

export type Runtime = 'python' | 'node';

/** The image a function of this runtime gets when it names none. One base holds python3 and node. */
export function defaultImage(runtime: Runtime): string {
  return DEFAULT_IMAGES[runtime];
}

const DEFAULT_IMAGES: Record<Runtime, string> = { python: BASE_IMAGE, node: BASE_IMAGE };
