/** What the client of a shell says: JSON in text messages; bytes for the program's input in binary ones. */
import { BerthError } from '@berth/service-kit';
import { z } from 'zod';

/** Seconds. */
const TIMEOUT_DEFAULT = 3600;
const TIMEOUT_MAX = 86_400;
const COMMAND_LENGTH_MAX = 64 * 1024;

const size = { columns: z.int().min(1).max(10_000), rows: z.int().min(1).max(10_000) };
const startSchema = z.strictObject({
  type: z.literal('start'),
  /** For /bin/sh -c; left out: a shell. */
  command: z.string().min(1).max(COMMAND_LENGTH_MAX).optional(),
  /** Left out: no terminal. */
  terminal: z.strictObject({ ...size, term: z.string().regex(/^[\w.+-]{0,64}$/) }).optional(),
  timeout: z.int().min(1).max(TIMEOUT_MAX).default(TIMEOUT_DEFAULT),
});
const laterSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('resize'), ...size }),
  /** The program reads an end of file. */
  z.strictObject({ type: z.literal('end') }),
]);

export type StartMessage = z.output<typeof startSchema>;
export type LaterMessage = z.output<typeof laterSchema>;

/** Errors: `invalid` with the field at fault. */
export const readStart = (text: string): StartMessage => read(startSchema, text);
export const readLater = (text: string): LaterMessage => read(laterSchema, text);

function read<T>(schema: z.ZodType<T>, text: string): T {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch (cause) {
    throw new BerthError('invalid', 'A text message of a shell must be JSON.', { cause });
  }
  const { success, data, error } = schema.safeParse(message);
  if (success) return data;
  const [issue] = error.issues;
  const field = issue!.path.join('.') || 'type';
  throw new BerthError('invalid', `${field}: ${issue!.message}.`, { field });
}
