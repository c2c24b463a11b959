import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';

/** Errors: `data_loss` for a chunk that is missing or damaged. */
export async function readChunk(
  { chunks, log }: Pick<Context, 'chunks' | 'log'>,
  workspaceId: string,
  hash: string,
): Promise<Buffer> {
  const content = await chunks.read(workspaceId, hash);
  if (content) return content;
  log.error({ workspaceId, hash }, 'a chunk is missing or damaged');
  throw new BerthError(
    'data_loss',
    'A chunk of this file is missing or damaged: put the file again, which mends it.',
  );
}
