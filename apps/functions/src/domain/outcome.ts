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
  error !== undefined &&
  ['init_failed', 'startup_timeout', 'container_exited', 'out_of_memory', 'image_failed'].includes(
    error.type,
  );

/** The error of an input that lost its container too often. */
export const lostTooOften = (): InputError => ({
  type: 'infrastructure',
  message: `It was begun ${ATTEMPTS_MAX} times and its container was lost each time. Look at berth node list, then call again.`,
});

const TYPE_LENGTH_MAX = 256;
const MESSAGE_LENGTH_MAX = 64 * 1024;
const TRACEBACK_LENGTH_MAX = 256 * 1024;

/** User code's own words may be of any length, and hold what no text of Postgres can: NUL, and halves of characters. */
const readable = (text: string, lengthMax: number): string =>
  text.slice(0, lengthMax).replaceAll('\0', '\ufffd').toWellFormed();

/** An error as it can be kept. */
export const readableError = ({ type, message, traceback }: InputError): InputError => ({
  type: readable(type, TYPE_LENGTH_MAX),
  message: readable(message, MESSAGE_LENGTH_MAX),
  ...(traceback === undefined ? {} : { traceback: readable(traceback, TRACEBACK_LENGTH_MAX) }),
});
