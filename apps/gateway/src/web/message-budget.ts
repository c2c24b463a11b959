/**
 * What messages that are not passed on yet may take of this process's memory, all sockets together. Anybody may open a
 * socket and leave a message unfinished: when there is no room left, whoever holds the most loses its socket.
 */
export class MessageBudget {
  readonly #holdings = new Set<Holding>();
  #total = 0;

  /** `bytesMax` of all holdings together. */
  constructor(private readonly bytesMax: number) {}

  /** A socket's part of it; `evict` is called when the socket has to give up what it holds. */
  open(evict: () => void): Holding {
    const holding = new Holding(
      evict,
      (bytes) => this.#add(bytes),
      () => this.#holdings.delete(holding),
    );
    this.#holdings.add(holding);
    return holding;
  }

  #add(bytes: number): void {
    this.#total += bytes;
    while (this.#total > this.bytesMax) {
      let largest: Holding | undefined;
      for (const each of this.#holdings) if (each.bytes > (largest?.bytes ?? 0)) largest = each;
      if (!largest) return;
      largest.close();
      largest.evict();
    }
  }
}

export class Holding {
  #bytes = 0;
  #isOpen = true;

  constructor(
    readonly evict: () => void,
    private readonly add: (bytes: number) => void,
    private readonly forget: () => void,
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts bytes that came; negative: that are gone. */
  take(bytes: number): void {
    if (!this.#isOpen) return;
    const change = Math.max(bytes, -this.#bytes);
    this.#bytes += change;
    this.add(change);
  }

  /** It holds nothing any more. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.forget();
    this.add(-this.#bytes);
    this.#bytes = 0;
  }
}
