import { ReflectionService } from '@grpc/reflection';
import { loadFileDescriptorSetFromBuffer, type PackageDefinition } from '@grpc/proto-loader';
import { descriptorSet } from '@berth/contracts';

let files: PackageDefinition | undefined;

/**
 * The files of all contracts, as reflection wants them. Every message of a loaded set carries the files of the whole
 * set, and reflection decodes what each of its entries carries: one entry says it all, and all of them made two
 * gigabytes of garbage at each start.
 */
function contractFiles(): PackageDefinition {
  if (files) return files;
  const loaded = loadFileDescriptorSetFromBuffer(descriptorSet());
  const entry = Object.entries(loaded).find(([, definition]) => 'fileDescriptorProtos' in definition);
  return (files = Object.fromEntries([entry!]));
}

/** gRPC reflection on the contracts that lists these services, by their full names. */
export const reflectionOn = (services: string[]): ReflectionService =>
  new ReflectionService(contractFiles(), { services });
