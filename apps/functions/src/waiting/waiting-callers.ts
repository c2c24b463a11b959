/**
 * Callers that wait for their call's outcome. They are woken by whoever records it: at once in this process, by a
 * NATS message in another replica, and by a slow look at the database when that message was lost.
 */
import type { Database } from '@berth/database';
import type { Bus } from '@berth/events';
import { BerthError, type Logger } from '@berth/service-kit';
import { isFinal } from '../domain/input-state';
import { findCalls, type CallView } from '../store/call-store';

/** Core NATS, to every replica: call ids, separated by spaces. */
const ENDED_SUBJECT = 'berth.calls.ended';
/** The fall-back look, for a message that was lost. Milliseconds. */
const LOOK_MS = 5000;

type Wake = (ended: CallView | BerthError) => void;

/** Hears that something may have become of a call. */
export interface Watch {
  /** Resolves when that was so since the last time it resolved. Errors: as `wait`. */
  changed(signal: AbortSignal): Promise<void>;
  close(): void;
}

export class WaitingCallers {
  private readonly wakes = new Map<string, Set<Wake>>();
  private readonly watches = new Map<string, Set<() => void>>();
  private timer: NodeJS.Timeout | undefined;
  private unsubscribe: () => void = () => undefined;
  private readonly untold = new Set<string>();
  private draining = false;

  constructor(
    private readonly db: Database,
    private readonly bus: Bus,
    private readonly log: Logger,
  ) {}

  start(): void {
    const subscription = this.bus.nats.subscribe(ENDED_SUBJECT, {
      callback: (_, message) => {
        const ids = message.string().split(' ');
        for (const id of ids) this.stir(id);
        this.look(ids.filter((id) => this.wakes.has(id)));
      },
    });
    this.timer = setInterval(() => {
      for (const id of this.watches.keys()) this.stir(id);
      this.look([...this.wakes.keys()]);
    }, LOOK_MS);
    this.timer.unref();
    this.unsubscribe = () => subscription.unsubscribe();
  }

  /**
   * The call once it has ended. Wait before you look whether it has: what ends in between is not missed.
   * Errors: `cancelled` when the caller goes away, `unavailable` when this service stops: ask again under the same key.
   */
  wait(callId: string, signal: AbortSignal): Promise<CallView> {
    return new Promise((resolve, reject) => {
      if (this.draining) return reject(stopping());
      if (signal.aborted) return reject(gone());
      const wakes = this.wakes.get(callId) ?? new Set();
      this.wakes.set(callId, wakes);
      const leave = () => {
        signal.removeEventListener('abort', onAbort);
        wakes.delete(wake);
        if (wakes.size === 0) this.wakes.delete(callId);
      };
      const wake: Wake = (ended) => {
        leave();
        if (ended instanceof BerthError) reject(ended);
        else resolve(ended);
      };
      const onAbort = () => wake(gone());
      wakes.add(wake);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Watches a call, of which more than one thing becomes; begin before you look. */
  watch(callId: string): Watch {
    let changed = false;
    let tell = () => {};
    const stir = () => {
      changed = true;
      tell();
    };
    const stirs = this.watches.get(callId) ?? new Set();
    this.watches.set(callId, stirs.add(stir));
    return {
      changed: (signal) =>
        new Promise((resolve, reject) => {
          const settle = () => {
            if (!changed && !this.draining && !signal.aborted) return;
            signal.removeEventListener('abort', settle);
            tell = () => {};
            if (this.draining) return reject(stopping());
            if (signal.aborted) return reject(gone());
            changed = false;
            resolve();
          };
          tell = settle;
          signal.addEventListener('abort', settle, { once: true });
          settle();
        }),
      close: () => {
        stirs.delete(stir);
        if (stirs.size === 0) this.watches.delete(callId);
      },
    };
  }

  /** Wakes whoever waits for these calls or watches them, here and in every replica. */
  announce(calls: readonly CallView[]): void {
    for (const call of calls) this.announceHere(call);
    this.tell(calls.map(({ call_id }) => call_id));
  }

  /** Something else than an outcome changed: it is closed, say. */
  announceChange(callId: string): void {
    this.stir(callId);
    this.tell([callId]);
  }

  private tell(callIds: readonly string[]): void {
    if (callIds.length === 0) return;
    // After the answers that this has woken, and one message for all that end in the same turn.
    if (this.untold.size === 0) setImmediate(() => this.tellReplicas());
    for (const callId of callIds) this.untold.add(callId);
  }

  private stir(callId: string): void {
    for (const stir of this.watches.get(callId) ?? []) stir();
  }

  private tellReplicas(): void {
    const callIds = [...this.untold];
    this.untold.clear();
    try {
      this.bus.nats.publish(ENDED_SUBJECT, callIds.join(' '));
    } catch (error) {
      this.log.debug({ err: error }, 'other replicas find out by looking');
    }
  }

  /** Wakes whoever waits for this call in this replica. */
  announceHere(call: CallView): void {
    this.stir(call.call_id);
    for (const wake of this.wakes.get(call.call_id) ?? []) wake(call);
  }

  private look(callIds: string[]): void {
    if (callIds.length === 0) return;
    findCalls(this.db, callIds).then(
      (calls) => {
        const vanished = new Set(callIds);
        for (const call of calls) {
          vanished.delete(call.call_id);
          if (isFinal(call.state)) this.announceHere(call);
        }
        // Accepted, not yet on disk, and lost with a Postgres that died: nobody was told of it.
        for (const callId of vanished) for (const wake of this.wakes.get(callId) ?? []) wake(lost());
      },
      (error: unknown) => this.log.debug({ err: error }, 'could not look for ended calls: trying again soon'),
    );
  }

  /** Sends everybody away: their calls go on, and whoever asks again joins them. */
  drain(): void {
    this.draining = true;
    clearInterval(this.timer);
    this.unsubscribe();
    for (const wakes of [...this.wakes.values()]) for (const wake of [...wakes]) wake(stopping());
    for (const callId of [...this.watches.keys()]) this.stir(callId);
  }
}

const gone = () => new BerthError('cancelled', 'The caller went away; the call goes on.');

const lost = () => new BerthError('unavailable', 'The database lost this call as it came: send it again.');

const stopping = () =>
  new BerthError('unavailable', 'The functions service stops: ask again under the same Idempotency-Key.');
