import { decodeJwt } from 'jose';
import type { AuthenticateRequest, AuthenticateResponse } from '@berth/contracts/identity/v1/identity';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { opens, readCredential } from '../domain/credential';
import { findHolder } from '../store/credential-store';
import { principalToProto } from './to-proto';

/** One answer for every way to be wrong: which part was, only helps who guesses. */
const refusal = () =>
  new BerthError(
    'unauthenticated',
    'The credential is not valid: send `Authorization: Bearer <token_id>.<token_secret>` or `x-api-key`.',
  );

/** Turns a credential into a principal, and a token that peers accept. */
export const authenticate =
  ({ db, tokens }: Context) =>
  async ({ credential }: AuthenticateRequest): Promise<AuthenticateResponse> => {
    const presented = credential && readCredential(credential.value);
    // `bearer` takes tokens alone; a form that can open nothing is public, so it costs no query.
    if (!presented || (credential.$case === 'bearer' && presented.kind !== 'api_token')) throw refusal();

    const holder = await findHolder(db, presented);
    if (!opens(holder, presented, new Date())) throw refusal();

    const internalToken = await tokens.sign(holder.principal);
    // What the gateway remembers may not outlive the credential.
    const endsMs = Math.min(decodeJwt(internalToken).exp! * 1000, holder.expires_at?.getTime() ?? Infinity);
    return { principal: principalToProto(holder.principal), internalToken, expiresAt: new Date(endsMs) };
  };
