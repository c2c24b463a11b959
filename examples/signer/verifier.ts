import { createHmac, timingSafeEqual } from 'node:crypto';

/** Whether a message was signed with the key of the secret. */
export function verify({ message, signature }: { message: string; signature: string }): boolean {
  const expected = createHmac('sha256', process.env.SIGNING_KEY!).update(message).digest();
  const given = Buffer.from(signature, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
}
