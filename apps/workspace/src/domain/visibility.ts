import { BerthError, type Principal } from '@berth/service-kit';

/** Whether this caller may know of a workspace. To everybody else it does not exist. */
export function maySee(principal: Principal, workspace: { id: string; organization_id: string }): boolean {
  if (principal.kind === 'service') return true; // Which services may ask at all, the contract says.
  if (principal.organizationId !== workspace.organization_id) return false;
  return principal.scope === 'organization' || principal.workspaceId === workspace.id;
}

/** What a workspace that is not there gets, and one that the caller may not see. */
export const noSuchWorkspace = () =>
  new BerthError('not_found', 'No such workspace: check workspace_id.', { field: 'workspace_id' });
