import { EngineError, type ContainerEngine } from '@berth/container-engine';
import type { Logger } from '@berth/service-kit';
import type { UsageBook } from '../usage/usage-book';

/**
 * Ends what an earlier process of this node left: its workers went with their connections, and nobody would hear
 * them. What they held is billed to the moment in which they ended, at the latest to now.
 */
export async function endLeftovers(engine: ContainerEngine, usage: UsageBook, log: Logger): Promise<void> {
  const left = await engine.list();
  await Promise.all(
    left.map(async ({ id, name, state }) => {
      log.info({ containerId: name, state }, 'a container of an earlier start is ended');
      if (state !== 'created') {
        await engine.kill(id);
        const exit = await engine.wait(id).catch((error: unknown) => {
          if (error instanceof EngineError && error.kind === 'not_found') return undefined;
          throw error;
        });
        usage.close(name, exit?.finishedAt ?? new Date());
      }
      await engine.remove(id);
    }),
  );
  // Opened, and gone without us, or never started: nobody saw it run after that.
  for (const { containerId, lastSeenAt } of usage.openContainers()) usage.close(containerId, lastSeenAt);
}
