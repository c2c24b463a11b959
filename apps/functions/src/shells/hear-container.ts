import type { Container } from '@berth/contracts/scheduler/v1/scheduler';
import { CONTAINER_EVENTS, decodeContainerEvent, type Bus } from '@berth/events';

/** What is said of shells' containers of one function, from now on, until it is disposed of. */
export interface Hearing extends Disposable {
  /** All that was said since it was asked last. */
  take(): Container[];
  /** Resolves when there is more, after `ms`, or when `signal` aborts. */
  more(ms: number, signal: AbortSignal): Promise<void>;
}

export function hearShellContainers({ nats }: Bus, functionId: string): Hearing {
  let heard: Container[] = [];
  let wake = () => {};
  const subscription = nats.subscribe(CONTAINER_EVENTS, {
    callback(error, message) {
      if (error) return;
      const container = decodeContainerEvent(message.data);
      if (container.functionId !== functionId || container.version !== 0) return;
      heard.push(container);
      wake();
    },
  });
  return {
    take() {
      const taken = heard;
      heard = [];
      return taken;
    },
    async more(ms, signal) {
      if (heard.length > 0 || signal.aborted) return;
      await new Promise<void>((resolve) => {
        const late = setTimeout(go, ms);
        function go() {
          clearTimeout(late);
          signal.removeEventListener('abort', go);
          wake = () => {};
          resolve();
        }
        wake = go;
        signal.addEventListener('abort', go, { once: true });
      });
    },
    [Symbol.dispose]: () => subscription.unsubscribe(),
  };
}
