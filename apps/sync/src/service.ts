import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { VolumeServiceService } from '@berth/contracts/sync/v1/volume';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { commitVolume } from './rpc/commit-volume';
import { createTree } from './rpc/create-tree';
import { createTreeFromFiles } from './rpc/create-tree-from-files';
import { createVolume } from './rpc/create-volume';
import { deleteVolume } from './rpc/delete-volume';
import { fetchChunks } from './rpc/fetch-chunks';
import { fetchTree } from './rpc/fetch-tree';
import { findMissingChunks } from './rpc/find-missing-chunks';
import { findMissingVolumes } from './rpc/find-missing-volumes';
import { getChunk } from './rpc/get-chunk';
import { getTree } from './rpc/get-tree';
import { getVolume } from './rpc/get-volume';
import { listVolumeFiles } from './rpc/list-volume-files';
import { listVolumes } from './rpc/list-volumes';
import { openVolume } from './rpc/open-volume';
import { putChunk } from './rpc/put-chunk';
import { readVolumeFile } from './rpc/read-volume-file';
import { removeVolumeFiles } from './rpc/remove-volume-files';
import { schema } from './store/schema';

export const sync: ServiceModule = defineService(
  'sync',
  async (base) => {
    const context = await createContext(base);
    return {
      services: [
        implement(SyncServiceService, {
          findMissingChunks: findMissingChunks(context),
          putChunk: putChunk(context),
          createTree: createTree(context),
          createTreeFromFiles: createTreeFromFiles(context),
          getTree: getTree(context),
          fetchTree: fetchTree(context),
          getChunk: getChunk(context),
        }),
        implement(VolumeServiceService, {
          createVolume: createVolume(context),
          listVolumes: listVolumes(context),
          getVolume: getVolume(context),
          deleteVolume: deleteVolume(context),
          listVolumeFiles: listVolumeFiles(context),
          readVolumeFile: readVolumeFile(context),
          commitVolume: commitVolume(context),
          removeVolumeFiles: removeVolumeFiles(context),
          findMissingVolumes: findMissingVolumes(context),
          openVolume: openVolume(context),
          fetchChunks: fetchChunks(context),
        }),
      ],
      [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
    };
  },
  schema,
);
