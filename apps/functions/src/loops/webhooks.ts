/**
 * Tells of calls that have ended. What there is to tell was written with the call, so recording its outcome does not know of
 * it: this process watches the calls that it accepted, and a slow scan finds those of others. An attempt is taken on for a
 * while; a process that dies with it leaves it to the next.
 */
import { setMaxListeners } from 'node:events';
import type { Context } from '../context';
import {
  composeBody,
  type EndedCall,
  signedHeaders,
  TOLD_FOR_MS,
  untilNextAttemptMs,
  type Webhook,
} from '../domain/webhook';
import { mapState } from '../domain/map';
import { findCall, isMap } from '../store/call-store';
import { numberOutputs } from '../store/map-store';
import {
  claimWebhooks,
  recordAttempt,
  startDeliveries,
  untilNextWebhook,
  type ClaimedWebhook,
} from '../store/webhook-store';
import { DueLoop } from './due-loop';
import { post, Refused } from './post';

type Parts = Pick<Context, 'db' | 'waiting' | 'log' | 'config' | 'webhookSeal'>;

/** Longer than an attempt may last. */
const CLAIM_MS = 30_000;
const SCAN_MS = 5_000;
/** Attempts at a time, and of these for one workspace: receivers that never answer keep nobody else waiting. */
const ATTEMPTS_MAX = 64;
const ATTEMPTS_OF_ONE_MAX = 8;

export class Webhooks {
  private readonly loop: DueLoop;
  private readonly ended = new Set<string>();
  private readonly attempts = new Set<Promise<void>>();
  private readonly busy = new Map<string, number>();
  private readonly stopping = new AbortController();
  private scannedAt = 0;

  constructor(private readonly parts: Parts) {
    setMaxListeners(0, this.stopping.signal); // One for each call that is watched.
    this.loop = new DueLoop('webhooks', () => this.round(), parts.log);
  }

  start(): void {
    this.loop.start();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.loop.stop();
    await Promise.all(this.attempts);
  }

  /** A call with a webhook was accepted here: its end is told as soon as it comes. */
  watch(callId: string): void {
    this.parts.waiting.wait(callId, this.stopping.signal).then(
      () => {
        this.ended.add(callId);
        this.loop.wake(0);
      },
      () => undefined, // This service stops, or the call was lost: the scan of whoever comes next finds what there is.
    );
  }

  private async round(): Promise<number | undefined> {
    const { db } = this.parts;
    const ended = [...this.ended];
    this.ended.clear();
    if (Date.now() - this.scannedAt >= SCAN_MS) {
      await startDeliveries(db, undefined);
      this.scannedAt = Date.now();
    } else if (ended.length > 0) {
      await startDeliveries(db, ended);
    }
    const room = ATTEMPTS_MAX - this.attempts.size;
    // As many as one workspace may have, so that none goes above that in one round.
    const claimed =
      room > 0
        ? await claimWebhooks(db, this.fullWorkspaces(), Math.min(room, ATTEMPTS_OF_ONE_MAX), CLAIM_MS)
        : [];
    for (const each of claimed) this.begin(each);
    if (this.attempts.size >= ATTEMPTS_MAX) return undefined;
    return claimed.length > 0 ? 0 : untilNextWebhook(db, this.fullWorkspaces());
  }

  private fullWorkspaces(): string[] {
    return [...this.busy].filter(([, count]) => count >= ATTEMPTS_OF_ONE_MAX).map(([id]) => id);
  }

  private begin(webhook: ClaimedWebhook): void {
    const { workspace_id, call_id } = webhook;
    this.busy.set(workspace_id, (this.busy.get(workspace_id) ?? 0) + 1);
    const attempt = this.attempt(webhook)
      .catch((error: unknown) =>
        this.parts.log.warn({ err: error, callId: call_id }, 'what became of a webhook was not noted'),
      )
      .finally(() => {
        this.attempts.delete(attempt);
        const left = this.busy.get(workspace_id)! - 1;
        if (left > 0) this.busy.set(workspace_id, left);
        else this.busy.delete(workspace_id);
        this.loop.wake(0);
      });
    this.attempts.add(attempt);
  }

  private async attempt(webhook: ClaimedWebhook): Promise<void> {
    const { db, webhookSeal, config } = this.parts;
    const { call_id, sealed } = webhook;
    let target: Webhook;
    try {
      target = JSON.parse(webhookSeal.open(sealed, call_id).toString()) as Webhook;
    } catch {
      const error = 'Its URL cannot be opened any more: the key of the platform has changed.';
      await recordAttempt(db, webhook, { state: 'failed', error });
      return;
    }
    const call = await this.endedCall(webhook);
    const at = new Date();
    const body = composeBody(call, at);
    const headers = signedHeaders(target.secret, { id: call_id, at, body });
    const answer = await post(target.url, headers, body, config.webhookNetworks).catch(
      (error: Error) => error,
    );
    if (typeof answer === 'number' && answer >= 200 && answer < 300) {
      await recordAttempt(db, webhook, { state: 'delivered' });
      return;
    }
    await this.recordFailure(webhook, answer);
  }

  private async endedCall({ workspace_id, call_id }: ClaimedWebhook): Promise<EndedCall> {
    const { db } = this.parts;
    await numberOutputs(db, call_id);
    const call = (await findCall(db, workspace_id, call_id))!;
    const common = { callId: call_id, functionId: call.function_id };
    if (isMap(call)) {
      return {
        ...common,
        status: mapState(call),
        createdAt: call.created_at,
        startedAt: call.first_started_at,
        finishedAt: call.last_finished_at,
        num_inputs: call.num_inputs,
        num_succeeded: call.num_succeeded,
        num_failed: call.num_failed,
        num_terminated: call.num_terminated,
      };
    }
    return {
      ...common,
      status: call.state,
      createdAt: call.accepted_at,
      startedAt: call.started_at,
      finishedAt: call.finished_at,
      result: call.result,
      result_format: call.result_format ?? '',
      error: call.error,
      attempts: call.attempt,
    };
  }

  private async recordFailure(webhook: ClaimedWebhook, answer: number | Error): Promise<void> {
    const { db } = this.parts;
    const retryMs = untilNextAttemptMs(webhook.attempts);
    const late = Date.now() + retryMs > webhook.ended_at.getTime() + TOLD_FOR_MS;
    // What is gone, and what leads where nobody is let, will not change by itself.
    const hopeless = answer === 410 || answer instanceof Refused;
    const error = answer instanceof Error ? answer.message : `It answered with status ${answer}.`;
    await recordAttempt(
      db,
      webhook,
      late || hopeless ? { state: 'failed', error } : { state: 'pending', error, retryMs },
    );
  }
}
