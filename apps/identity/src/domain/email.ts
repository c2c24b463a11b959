import { BerthError } from '@berth/service-kit';

/** One @ with something on both sides, nothing unseen: more than that only the mail itself can tell. */
const EMAIL = /^[^\s@\p{Cc}\p{Cf}]{1,64}@[^\s@\p{Cc}\p{Cf}]{1,253}$/u;

/** An e-mail address as it is stored: lower case, since people do not mean two addresses by two spellings. */
export function checkEmail(email: string, field: string): string {
  if (EMAIL.test(email)) return email.normalize('NFC').toLowerCase();
  throw new BerthError('invalid', `${field} is not an e-mail address: write it as name@example.com.`, {
    field,
  });
}
