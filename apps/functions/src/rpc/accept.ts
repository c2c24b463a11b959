import { hash } from 'node:crypto';
import { BerthError, injectTrace, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { composePayload, type GivenArguments, type Payload } from '../domain/payload';
import type { Webhook } from '../domain/webhook';
import { acceptCall, findRepeated, type NewCall } from '../store/call-store';
import { findFunction } from '../store/function-store';
import { checkInputs } from './check-inputs';
import { newWebhook } from './new-webhook';
import { appIsStopped, functionIsDeleted, noSuchFunction } from './not-found';

export interface Arguments extends GivenArguments {
  functionId: string;
  webhook?: Webhook | undefined;
}

/**
 * Writes a call, once for each Idempotency-Key, and sends its input on its way. From here on it ends in one recorded
 * outcome, whatever becomes of the caller. `joined`: an earlier request made it. `durable`: it is on disk before this
 * resolves, as it must be before a caller is told of it.
 */
export async function accept(
  context: Pick<
    Context,
    'db' | 'sync' | 'relay' | 'autoscaler' | 'log' | 'webhooks' | 'webhookSeal' | 'config'
  >,
  request: Arguments,
  call: CallContext,
  { durable }: { durable: boolean },
): Promise<{ callId: string; joined: boolean }> {
  const { db, relay, autoscaler, log, webhooks } = context;
  const workspaceId = workspaceOf(call);
  const { idempotencyKey } = call;
  const webhook = newWebhook(context, request.webhook);
  const input = composePayload(request);
  await checkInputs(context, request.functionId, [input], call, (_, name) => name);
  const requestHash = hashOf(input, webhook?.hashed);
  const fresh: NewCall = {
    workspaceId,
    functionId: request.functionId,
    idempotencyKey,
    requestHash: idempotencyKey === undefined ? undefined : requestHash,
    ...input,
    traceparent: injectTrace().traceparent ?? call.traceparent ?? '',
    acceptedAt: new Date(),
    // Its webhook is told even if nobody waits for the outcome.
    durable: durable || webhook !== undefined,
  };
  const accepted = webhook
    ? await db.transact(async (tx) => {
        const made = await acceptCall(tx, fresh);
        if (made) await webhook.write(tx, workspaceId, made.callId);
        return made;
      })
    : await acceptCall(db, fresh);
  if (accepted) {
    relay.publish([accepted.outbox]).catch((error: unknown) => {
      log.warn({ err: error, callId: accepted.callId }, 'an input waits in the outbox');
    });
    if (webhook) webhooks.watch(accepted.callId);
    autoscaler.accepted(request.functionId, accepted.version);
    return { callId: accepted.callId, joined: false };
  }

  const earlier = await joinEarlier(db, {
    workspaceId,
    functionId: request.functionId,
    idempotencyKey,
    requestHash,
  });
  return { callId: earlier, joined: true };
}

/** A request without a format is the same request as before there were any. */
const hashOf = ({ format, payload, blob = '' }: Payload, webhook: Buffer = Buffer.alloc(0)): Buffer =>
  hash(
    'sha256',
    Buffer.concat([Buffer.from(format === 'json' && !blob ? '' : `${format}\0${blob}\0`), payload, webhook]),
    'buffer',
  );

/**
 * Where a call could not be written: the one that the same request made before. Errors: `not_found` for the function;
 * `precondition` for a stopped app, and for a key that was used for another request.
 */
export async function joinEarlier(
  db: Context['db'],
  {
    workspaceId,
    functionId,
    idempotencyKey,
    requestHash,
  }: { workspaceId: string; functionId: string; idempotencyKey: string | undefined; requestHash: Buffer },
): Promise<string> {
  const found = await findFunction(db, workspaceId, functionId);
  if (!found) throw noSuchFunction();
  const earlier = idempotencyKey && (await findRepeated(db, found.function_id, idempotencyKey));
  if (!earlier) throw found.deleted_at ? functionIsDeleted() : appIsStopped();
  if (!earlier.request_hash?.equals(requestHash)) {
    throw new BerthError(
      'precondition',
      'This Idempotency-Key was used for another request: take a new one.',
      { field: 'Idempotency-Key' },
    );
  }
  return earlier.id;
}
