import type {
  Environment as EnvironmentMessage,
  Workspace as WorkspaceMessage,
} from '@berth/contracts/workspace/v1/workspace';
import type { Environment, Workspace } from '../store/entities';

export const workspaceToProto = (row: Workspace): WorkspaceMessage => ({
  workspaceId: row.id,
  organizationId: row.organization_id,
  name: row.name,
  createdAt: row.created_at,
});

export const environmentToProto = (row: Environment): EnvironmentMessage => ({
  environmentId: row.id,
  name: row.name,
  createdAt: row.created_at,
});
