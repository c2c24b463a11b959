import { ROLES, type AccessRule } from '@berth/contracts';
import { BerthError } from './errors';
import type { Principal } from './tokens';

/**
 * Decides whether `principal` may call a method with this rule; throws `denied` with the reason if not.
 *
 * An organization-wide role also holds in the workspaces inside it; a handler that needs one workspace still asks
 * for it with `workspaceOf`.
 */
export function admit(principal: Principal, rule: AccessRule): void {
  if (rule.anonymous) return;
  if (principal.kind === 'service') {
    if (rule.services.includes(principal.service)) return;
    throw new BerthError('denied', `The service ${principal.service} may not call this.`);
  }
  if (principal.credentialKind === 'container' && !rule.containers) {
    throw new BerthError('denied', 'A container may call functions, and not this: use an API token for it.');
  }
  if (rule.role === 'unspecified') throw new BerthError('denied', 'Only Berth itself may call this.');
  if (rule.scope === 'organization' && principal.scope !== 'organization') {
    throw new BerthError('denied', 'This needs an admin key of the organization (x-api-key).');
  }
  if (ROLES.indexOf(principal.role) < ROLES.indexOf(rule.role)) {
    throw new BerthError(
      'denied',
      `This needs the role ${rule.role}; this credential has ${principal.role}.`,
    );
  }
}
