import type { AttachSessionRequest } from '@berth/contracts/gateway/v1/web';
import { BerthError, type CallContext } from '@berth/service-kit';
import type { SessionStream, WebSessions } from '../web/session';

/** A runner takes a web request that is held here, and answers it. */
export const attachSession =
  (sessions: WebSessions) =>
  async (stream: SessionStream, { signal }: CallContext): Promise<void> => {
    const messages = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<AttachSessionRequest>;
    const first = await Promise.race([messages.next().catch(gone), cancelled(signal)]);
    const hello = first.done ? undefined : first.value.message;
    if (hello?.$case !== 'hello') {
      throw new BerthError('invalid', 'The first message must be a hello that names the session.', {
        field: 'hello',
      });
    }
    const { sessionId, attempt } = hello.value;
    await sessions.find(sessionId).attach(stream, messages, attempt, signal);
  };

const gone = (): never => {
  throw new BerthError('cancelled', 'The runner went away.');
};

const cancelled = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const leave = () => reject(new BerthError('cancelled', 'The runner went away.'));
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
  });
