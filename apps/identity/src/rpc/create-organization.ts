import type {
  CreateOrganizationRequest,
  CreateOrganizationResponse,
} from '@berth/contracts/identity/v1/identity';
import { checkName, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkEmail } from '../domain/email';
import { audit } from '../store/audit';
import { ensureOrganization, insertAdminKey } from '../store/organization-store';

/** Makes an organization with its owner and an admin key, all or nothing. The same name is the same organization. */
export const createOrganization =
  ({ db }: Context) =>
  async (request: CreateOrganizationRequest, call: CallContext): Promise<CreateOrganizationResponse> => {
    const name = checkName(request.name, 'name');
    const ownerEmail = checkEmail(request.ownerEmail, 'owner_email');
    return db.transact(async (tx) => {
      const { organizationId, ownerUserId, isNew } = await ensureOrganization(tx, name, ownerEmail);
      if (isNew) await audit(tx, call, organizationId, 'organization.created', organizationId);
      if (!isNew && !request.newAdminKey) return { organizationId, ownerUserId, adminApiKey: '' };

      const { id, key } = await insertAdminKey(tx, organizationId, ownerUserId);
      await audit(tx, call, organizationId, 'admin_key.created', id);
      return { organizationId, ownerUserId, adminApiKey: key };
    });
  };
