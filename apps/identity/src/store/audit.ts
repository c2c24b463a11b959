import type { Sql } from '@berth/database';
import type { CallContext } from '@berth/service-kit';

export type AuditAction =
  | 'organization.created'
  | 'admin_key.created'
  | 'api_token.created'
  | 'api_token.revoked'
  | 'proxy_token.created'
  | 'proxy_token.revoked';

/** Writes down who did what, in the transaction that did it. Ids only: no secret, no name. */
export async function audit(
  tx: Sql,
  call: CallContext,
  organizationId: string,
  action: AuditAction,
  targetId: string,
): Promise<void> {
  const { principal, requestId } = call;
  const [actor, credentialId] =
    principal.kind === 'user'
      ? [principal.userId, principal.credentialId]
      : [`service:${principal.service}`, ''];
  await tx.query(
    `INSERT INTO audit_log (organization_id, actor, credential_id, action, target_id, request_id)
     VALUES ($1, $2, $3, $4, $5, $6)`,
    [organizationId, actor, credentialId, action, targetId, requestId],
  );
}
