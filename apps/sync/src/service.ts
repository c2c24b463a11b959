import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { createTree } from './rpc/create-tree';
import { createTreeFromFiles } from './rpc/create-tree-from-files';
import { fetchTree } from './rpc/fetch-tree';
import { findMissingChunks } from './rpc/find-missing-chunks';
import { getTree } from './rpc/get-tree';
import { putChunk } from './rpc/put-chunk';
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
        }),
      ],
      [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
    };
  },
  schema,
);
