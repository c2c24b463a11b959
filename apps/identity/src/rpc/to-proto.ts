import type { Role } from '@berth/contracts';
import {
  CredentialKind,
  type ApiToken as ApiTokenMessage,
  type Principal as PrincipalMessage,
} from '@berth/contracts/identity/v1/identity';
import type { ProxyToken as ProxyTokenMessage } from '@berth/contracts/identity/v1/proxy_tokens';
import { Role as RoleEnum, Scope } from '@berth/contracts/options/v1/options';
import type { UserPrincipal } from '@berth/service-kit';
import type { ProxyTokenRow } from '../store/proxy-token-store';
import type { ApiTokenRow } from '../store/api-token-store';

const ROLE: Record<Role, RoleEnum> = {
  unspecified: RoleEnum.ROLE_UNSPECIFIED,
  member: RoleEnum.ROLE_MEMBER,
  manager: RoleEnum.ROLE_MANAGER,
  owner: RoleEnum.ROLE_OWNER,
};

const SCOPE: Record<UserPrincipal['scope'], Scope> = {
  workspace: Scope.SCOPE_WORKSPACE,
  organization: Scope.SCOPE_ORGANIZATION,
};

const CREDENTIAL_KIND: Record<UserPrincipal['credentialKind'], CredentialKind> = {
  api_token: CredentialKind.CREDENTIAL_KIND_API_TOKEN,
  admin_key: CredentialKind.CREDENTIAL_KIND_ADMIN_KEY,
  container: CredentialKind.CREDENTIAL_KIND_CONTAINER,
};

export const principalToProto = (principal: UserPrincipal): PrincipalMessage => ({
  credentialKind: CREDENTIAL_KIND[principal.credentialKind],
  credentialId: principal.credentialId,
  organizationId: principal.organizationId,
  workspaceId: principal.workspaceId,
  userId: principal.userId,
  role: ROLE[principal.role],
  scope: SCOPE[principal.scope],
  appId: principal.run?.appId ?? '',
  functionId: principal.run?.functionId ?? '',
});

export const apiTokenToProto = (row: ApiTokenRow): ApiTokenMessage => ({
  tokenId: row.id,
  name: row.name,
  workspaceId: row.workspace_id,
  userId: row.user_id,
  role: ROLE[row.role],
  createdAt: row.created_at,
  expiresAt: row.expires_at ?? undefined,
  revokedAt: row.revoked_at ?? undefined,
});

export const proxyTokenToProto = (row: ProxyTokenRow): ProxyTokenMessage => ({
  tokenId: row.id,
  name: row.name,
  createdAt: row.created_at,
  expiresAt: row.expires_at ?? undefined,
  revokedAt: row.revoked_at ?? undefined,
});
