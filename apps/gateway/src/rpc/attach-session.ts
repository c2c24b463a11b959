import type { AttachSessionRequest } from '@berth/contracts/gateway/v1/web';
import { BerthError, type CallContext } from '@berth/service-kit';
import { Messages } from '../web/messages';
import type { SessionStream, WebSessions } from '../web/session';

/** A runner takes a web request that is held here, and answers it. */
export const attachSession =
  (sessions: WebSessions) =>
  async (stream: SessionStream, { signal }: CallContext): Promise<void> => {
    const messages = new Messages<AttachSessionRequest>(stream);
    const hello = (await messages.next())?.message;
    if (hello?.$case !== 'hello') {
      throw new BerthError('invalid', 'The first message must be a hello that names the session.', {
        field: 'hello',
      });
    }
    const { sessionId, attempt } = hello.value;
    await sessions.find(sessionId).attach(stream, messages, attempt, signal);
  };
