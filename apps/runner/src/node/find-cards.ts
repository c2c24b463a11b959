import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Logger } from '@berth/service-kit';
import { parseNvidiaSmi, type Card } from '../domain/gpu';

const QUERY = ['--query-gpu=index,name,memory.total,uuid', '--format=csv,noheader,nounits'];
const WITHIN_MS = 20_000;

/** The GPU cards of this machine; none where there is no NVIDIA driver. */
export async function findCards(path: string, log: Logger): Promise<Card[]> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', QUERY, {
      env: { PATH: path },
      timeout: WITHIN_MS,
    });
    return parseNvidiaSmi(stdout);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      log.warn({ err: error }, 'nvidia-smi is here but does not answer: this node offers no GPU cards');
    }
    return [];
  }
}
