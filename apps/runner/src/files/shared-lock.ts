/** Lets any number work at the same time, or one alone; in the order in which they came. */
export class SharedLock {
  #alone: Promise<unknown> = Promise.resolve();
  readonly #shared = new Set<Promise<unknown>>();

  shared<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#alone.then(work);
    const settled = done.catch(() => undefined).finally(() => this.#shared.delete(settled));
    this.#shared.add(settled);
    return done;
  }

  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = Promise.all([this.#alone, ...this.#shared]).then(work);
    this.#alone = done.catch(() => undefined);
    return done;
  }
}
