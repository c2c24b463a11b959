import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from '../files/write-atomically';

/** What a node remembers of itself between two starts. */
export interface NodeFile {
  /** Whose containers these are, as the engine sees it: several platforms share one machine. */
  readonly owner: string;
  /** Empty before the first registration. */
  nodeId: string;
  /** Without isolation a node serves one organization: the first whose container it ran. Empty: none yet. */
  organizationId: string;
  save(): void;
}

/** Reads `node.json`, or makes it with a new owner. Throws for a file that cannot be read: it names what runs here. */
export function openNodeFile(folder: string): NodeFile {
  const path = join(folder, 'node.json');
  let kept: Partial<NodeFile> = {};
  try {
    kept = JSON.parse(readFileSync(path, 'utf8')) as Partial<NodeFile>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const file: NodeFile = {
    owner: kept.owner ?? `berth-${randomBytes(8).toString('hex')}`,
    nodeId: kept.nodeId ?? '',
    organizationId: kept.organizationId ?? '',
    save() {
      const { owner, nodeId, organizationId } = file;
      writeAtomically(path, JSON.stringify({ owner, nodeId, organizationId }));
    },
  };
  if (!kept.owner) file.save();
  return file;
}
