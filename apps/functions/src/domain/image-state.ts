/** How an image goes from asked for to built. */
export type ImageState = 'queued' | 'building' | 'ready' | 'failed';

/**
 * Who moves an image, and from where. The attempt is the fence beside the state: what a superseded attempt says is
 * stale.
 *
 * - `claim`: a runner takes it, as the next attempt; also from a runner that went silent, whose lease has run out.
 * - `lose`: its runner stops, or could not even try: it waits for another one.
 * - `succeed`, `fail`: its outcome.
 * - `ask`: somebody asks again for one that failed.
 */
export const IMAGE_TRANSITIONS = {
  claim: { from: ['queued', 'building'], to: 'building' },
  lose: { from: ['building'], to: 'queued' },
  succeed: { from: ['building'], to: 'ready' },
  fail: { from: ['building'], to: 'failed' },
  ask: { from: ['failed'], to: 'queued' },
} as const satisfies Record<string, { from: readonly ImageState[]; to: ImageState }>;

export interface ImageError {
  type: string;
  message: string;
  /** From 0. */
  step?: number | undefined;
  step_text: string;
  log_tail: string[];
}

/** Builds of one image that may be lost in a row before it counts as failed. */
export const LOSSES_MAX = 3;
/** How long a build is a runner's own after it was last heard of. Seconds. */
export const LEASE_SECONDS = 20;
/** How long one build may take. Seconds. */
export const BUILD_SECONDS_MAX = 3600;

export const lostTooOften = (): ImageError => ({
  type: 'infrastructure',
  message: `It was begun ${LOSSES_MAX} times and its node was lost each time: ask for it again.`,
  step_text: '',
  log_tail: [],
});

export const tookTooLong = (): ImageError => ({
  type: 'timeout',
  message: `It was not built within ${BUILD_SECONDS_MAX} seconds.`,
  step_text: '',
  log_tail: [],
});

const TEXT_LENGTH_MAX = 16 * 1024;
const TAIL_LINES_MAX = 50;

/** What a build printed may hold what no text of Postgres can: NUL, and halves of characters. */
const readable = (text: string): string =>
  text.slice(0, TEXT_LENGTH_MAX).replaceAll('\0', '\ufffd').toWellFormed();

/** An error as it can be kept. */
export const readableImageError = ({ type, message, step, step_text, log_tail }: ImageError): ImageError => ({
  type: readable(type),
  message: readable(message),
  ...(step === undefined ? {} : { step }),
  step_text: readable(step_text),
  log_tail: log_tail.slice(-TAIL_LINES_MAX).map(readable),
});
