import { isId } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';

/**
 * The workspace that is asked about: the user's own, or the one that a service names in the field `workspace_id`.
 * Errors: `invalid` when a service names none; `not_found` when a user names another one.
 */
export function workspaceAsked(call: CallContext, named: string): string {
  if (call.principal.kind === 'service') {
    if (isId('wo', named)) return named;
    throw new BerthError('invalid', 'workspace_id is missing: a service has to name one.', {
      field: 'workspace_id',
    });
  }
  const own = workspaceOf(call);
  if (!named || named === own) return own;
  throw new BerthError('not_found', 'No such workspace: leave workspace_id out to use your own.', {
    field: 'workspace_id',
  });
}
