import type { Secret as SecretMessage } from '@berth/contracts/workspace/v1/secret';
import type {
  Environment as EnvironmentMessage,
  Workspace as WorkspaceMessage,
} from '@berth/contracts/workspace/v1/workspace';
import type { Environment, Workspace } from '../store/entities';
import type { SecretView } from '../store/secret-store';

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

export const secretToProto = (row: SecretView): SecretMessage => ({
  secretId: row.id,
  name: row.name,
  environment: row.environment,
  variables: row.variables,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
