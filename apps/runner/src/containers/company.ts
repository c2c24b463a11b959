/**
 * Which inputs run beside each other in a container that takes several at a time. One that was there when several
 * containers died is to run alone: then its container's end says whether it is to blame, and nobody else pays.
 */

/** Others may run for hours: by then it runs beside them, and nothing more is known of it. Milliseconds. */
const ALONE_WAIT_MS = 30_000;

export class Company {
  #inside = 0;
  #isAlone = false;
  /** Those that want to be alone: while one waits nobody else comes in, or it would never be. */
  #wantAlone = 0;
  /** There while somebody waits. */
  #changed: PromiseWithResolvers<void> | undefined;

  /** Waits for its place until `pulling` aborts; resolves to how it leaves. */
  async enter(alone: boolean, pulling: AbortSignal): Promise<() => void> {
    const until = Date.now() + ALONE_WAIT_MS;
    if (alone) this.#wantAlone++;
    const mayEnter = () =>
      alone && Date.now() < until ? this.#inside === 0 : !this.#isAlone && (alone || this.#wantAlone === 0);
    while (!pulling.aborted && !mayEnter())
      await this.#change(alone ? until - Date.now() : undefined, pulling);
    if (alone) this.#wantAlone--;
    const hasItAlone = alone && this.#inside === 0;
    this.#inside++;
    if (hasItAlone) this.#isAlone = true;
    this.#tell();
    return () => {
      this.#inside--;
      if (hasItAlone) this.#isAlone = false;
      this.#tell();
    };
  }

  #tell(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }

  async #change(ms: number | undefined, pulling: AbortSignal): Promise<void> {
    const over = Promise.withResolvers<void>();
    const stop = () => over.resolve();
    const timer = ms === undefined ? undefined : setTimeout(stop, Math.max(0, ms));
    pulling.addEventListener('abort', stop, { once: true });
    this.#changed ??= Promise.withResolvers();
    await Promise.race([this.#changed.promise, over.promise]);
    clearTimeout(timer);
    pulling.removeEventListener('abort', stop);
  }
}
