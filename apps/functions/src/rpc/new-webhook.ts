import { isIP } from 'node:net';
import type { Sql } from '@berth/database';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { mayReach } from '../domain/networks';
import { checkWebhook, type Webhook } from '../domain/webhook';
import { insertWebhook } from '../store/webhook-store';

/** A webhook of a new call: checked, and ready to be written with it. */
export interface NewWebhook {
  /** Part of the request: a repeat under the same key has the same webhook. */
  hashed: Buffer;
  write(tx: Sql, workspaceId: string, callId: string): Promise<void>;
}

/** Undefined where a request names none. Errors: `invalid`, for what can be known before it is told. */
export function newWebhook(
  { webhookSeal, config }: Pick<Context, 'webhookSeal' | 'config'>,
  webhook: Webhook | undefined,
): NewWebhook | undefined {
  if (!webhook) return undefined;
  const { url, secret } = webhook;
  const { host } = checkWebhook(webhook);
  const address = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (isIP(address) && !mayReach(address, config.webhookNetworks)) {
    throw new BerthError(
      'invalid',
      'webhook.url is an address of the platform or a private network, which is not allowed here.',
      { field: 'webhook.url' },
    );
  }
  return {
    hashed: Buffer.from(JSON.stringify([url, secret])),
    async write(tx, workspaceId, callId) {
      await insertWebhook(tx, {
        call_id: callId,
        workspace_id: workspaceId,
        host,
        sealed: webhookSeal.close(Buffer.from(JSON.stringify({ url, secret })), callId),
      });
    },
  };
}
