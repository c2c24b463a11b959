import type { WhoAmIRequest, WhoAmIResponse } from '@berth/contracts/identity/v1/identity';
import { userOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import type { AppUser } from '../store/entities';
import { principalToProto } from './to-proto';

/** Says who the caller is and what the credential opens. */
export const whoAmI =
  ({ db }: Context) =>
  async (_: WhoAmIRequest, call: CallContext): Promise<WhoAmIResponse> => {
    const principal = userOf(call);
    const [user] = await db.query<AppUser>('SELECT email FROM app_user WHERE id = $1', [principal.userId]);
    return { principal: principalToProto(principal), email: user?.email ?? '' };
  };
