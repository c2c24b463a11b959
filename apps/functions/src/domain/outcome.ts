/** What went wrong with an input, as it is stored and shown. */
export interface InputError {
  type: string;
  message: string;
  traceback?: string | undefined;
}

/** Attempts of one input, whoever is to blame for them. */
export const ATTEMPTS_MAX = 20;

/**
 * Decides whether an input that failed is tried again. `failures` counts this one too: attempts that ended because
 * a machine was lost are not the input's fault and do not count.
 */
export const isTriedAgain = (failures: number, retries: number): boolean => failures <= retries;

/**
 * Whether a container that failed before it was ready would fail the same way again: what it loads is to blame, and
 * waiting helps nobody. Trouble of the platform is worth another try.
 */
export const isUsersFault = (error: { type: string } | undefined): boolean =>
  error !== undefined && ['init_failed', 'container_exited', 'out_of_memory'].includes(error.type);

/** The error of an input that lost its container too often. */
export const lostTooOften = (): InputError => ({
  type: 'infrastructure',
  message: `It was begun ${ATTEMPTS_MAX} times and its container was lost each time. Look at berth node list, then call again.`,
});
