import { ROLES, type Role } from '@berth/contracts';
import { BerthError, checkName } from '@berth/service-kit';

export interface TokenTerms {
  name: string;
  role: Role;
  expiresAt: Date | undefined;
}

/** Year 9999: what a timestamp in the contract can hold. */
const LATEST = Date.UTC(9999, 11, 31);

/** What a new API token is to be. Errors: `invalid` with the field at fault. */
export function checkTerms(
  asked: { name: string; role: number; expiresAt?: Date | undefined },
  now: Date,
): TokenTerms {
  const { expiresAt } = asked;
  if (expiresAt && !(expiresAt > now && expiresAt.getTime() <= LATEST)) {
    throw new BerthError(
      'invalid',
      'expires_at is not in the future: give a later time, or none for a token that does not end.',
      { field: 'expires_at' },
    );
  }
  const role = asked.role === 0 ? 'member' : ROLES[asked.role];
  if (!role) {
    throw new BerthError('invalid', 'role is none that there is: give member, manager or owner.', {
      field: 'role',
    });
  }
  return { name: asked.name === '' ? '' : checkName(asked.name, 'name'), role, expiresAt };
}
