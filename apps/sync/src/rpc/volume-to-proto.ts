import type { Volume as VolumeMessage, VolumeFile } from '@berth/contracts/sync/v1/volume';
import type { VolumeEntry } from '../domain/volume';
import type { Volume } from '../store/entities';
import type { VolumeFileView } from '../store/volume-store';

export const volumeToProto = (row: Volume): VolumeMessage => ({
  volumeId: row.id,
  name: row.name,
  environment: row.environment,
  revision: BigInt(row.revision),
  files: BigInt(row.files),
  bytes: BigInt(row.bytes),
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

export const volumeFileToProto = (row: VolumeFileView): VolumeFile => ({
  path: row.path,
  executable: row.executable,
  size: BigInt(row.size),
  chunks: row.chunks,
  link: row.link ?? '',
  modifiedAt: row.modified_at,
  revision: BigInt(row.revision),
});

export const volumeEntryFromProto = ({ path, executable, size, chunks, link }: VolumeFile): VolumeEntry => ({
  path,
  executable,
  size: Number(size),
  chunks,
  link: link || null,
});
