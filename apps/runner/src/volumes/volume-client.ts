import type { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { OpenVolumeRequest, VolumeFile, type VolumeServiceService } from '@berth/contracts/sync/v1/volume';
import { BerthError, type ClientOf } from '@berth/service-kit';
import type { BaseFile } from '../domain/volume-changes';

/** What `sync` is asked for volumes, in the words of this runner. */
export interface VolumeClient {
  /** The head; its files are left out where `knownRevision` is its revision. Errors: `not_found`. */
  open(which: WhichVolume, knownRevision?: number): Promise<Head>;
  /** Contents in order. Errors: `data_loss`. */
  fetchChunks(workspaceId: string, hashes: readonly string[]): AsyncIterable<Uint8Array>;
  missingChunks(workspaceId: string, hashes: string[]): Promise<Set<string>>;
  putChunk(workspaceId: string, hash: string, content: Uint8Array): Promise<void>;
  /** The revision of the head that has these changes. Errors: `not_found`, `too_large`, `invalid`. */
  commit(commit: VolumeCommit): Promise<number>;
}

export type WhichVolume = { workspaceId: string } & (
  { environment: string; name: string } | { volumeId: string }
);

export type HeadFile = Omit<BaseFile, 'stamp'> & { revision: number; modifiedAt: Date };

export interface Head {
  volumeId: string;
  revision: number;
  /** By path, in the order of paths; undefined where the head is the one that is known. */
  files: Map<string, HeadFile> | undefined;
}

export interface VolumeCommit {
  workspaceId: string;
  volumeId: string;
  puts: ReadonlyMap<string, Omit<BaseFile, 'stamp'>>;
  removes: string[];
  unlessChangedSince?: number;
}

/** A head of many files, and a commit of them, take their time. Milliseconds. */
const LONG_MS = 120_000;
/** What one message may have, with room for what stands around it. */
const COMMIT_BYTES_MAX = 30 * 1024 * 1024;

type Services = {
  sync: Pick<ClientOf<typeof SyncServiceService>, 'findMissingChunks' | 'putChunk'>;
  volumes: Pick<ClientOf<typeof VolumeServiceService>, 'openVolume' | 'fetchChunks' | 'commitVolume'>;
};

export function volumeClient({ sync, volumes }: Services): VolumeClient {
  return {
    async open(which, knownRevision) {
      const request = OpenVolumeRequest.fromPartial({
        ...which,
        ...(knownRevision === undefined ? {} : { knownRevision: BigInt(knownRevision) }),
      });
      let head: Head | undefined;
      const files = new Map<string, HeadFile>();
      for await (const message of volumes.openVolume(request, { timeoutMs: LONG_MS })) {
        if (message.volume) {
          head = { volumeId: message.volume.volumeId, revision: Number(message.volume.revision), files };
        }
        for (const file of message.files) files.set(file.path, fileFromProto(file));
      }
      if (!head) throw new BerthError('unavailable', 'The head of a volume did not arrive.');
      if (head.revision === knownRevision) head.files = undefined;
      return head;
    },

    async *fetchChunks(workspaceId, hashes) {
      for await (const { content } of volumes.fetchChunks({ workspaceId, hashes: [...hashes] }))
        yield content;
    },

    async missingChunks(workspaceId, hashes) {
      return new Set((await sync.findMissingChunks({ workspaceId, hashes })).missing);
    },

    async putChunk(workspaceId, hash, content) {
      await sync.putChunk({ workspaceId, hash, content: Buffer.from(content) }, { timeoutMs: LONG_MS });
    },

    async commit({ workspaceId, volumeId, puts, removes, unlessChangedSince }) {
      let bytes = removes.reduce((sum, path) => sum + path.length, 0);
      const files = [...puts].map(([path, { chunks, executable, size, link }]) => {
        bytes += 2 * path.length + 66 * chunks.length + 32;
        return VolumeFile.fromPartial({ path, executable, size: BigInt(size), chunks: [...chunks], link });
      });
      if (bytes > COMMIT_BYTES_MAX) {
        throw new BerthError(
          'too_large',
          'There are more changes than one commit can carry: commit more often.',
        );
      }
      const { revision } = await volumes.commitVolume(
        {
          workspaceId,
          volumeId,
          puts: files,
          removes,
          unlessChangedSince: unlessChangedSince === undefined ? undefined : BigInt(unlessChangedSince),
        },
        { timeoutMs: LONG_MS },
      );
      return Number(revision);
    },
  };
}

const fileFromProto = ({ executable, size, chunks, link, revision, modifiedAt }: VolumeFile): HeadFile => ({
  executable,
  size: Number(size),
  chunks,
  link,
  revision: Number(revision),
  modifiedAt: modifiedAt ?? new Date(),
});
