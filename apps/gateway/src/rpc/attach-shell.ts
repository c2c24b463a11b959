import type { AttachShellRequest } from '@berth/contracts/gateway/v1/shell';
import { BerthError, type CallContext } from '@berth/service-kit';
import type { HeldShells, ShellStream } from '../shell/held-shell';
import { Messages } from '../web/messages';

/** A runner takes a shell that is held here, and runs it. */
export const attachShell =
  (shells: HeldShells) =>
  async (stream: ShellStream, { signal }: CallContext): Promise<void> => {
    const messages = new Messages<AttachShellRequest>(stream);
    const hello = (await messages.next())?.message;
    if (hello?.$case !== 'hello') {
      throw new BerthError('invalid', 'The first message must be a hello that names the shell.', {
        field: 'hello',
      });
    }
    const { shellId, containerId } = hello.value;
    await shells.find(shellId).attach(stream, messages, containerId, signal);
  };
