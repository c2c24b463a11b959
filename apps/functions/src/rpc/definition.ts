import { CreateTreeFromFilesRequest } from '@berth/contracts/sync/v1/sync';
import type { FunctionDefinition } from '@berth/contracts/functions/v1/functions';
import { BerthError, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { checkModule, checkSourceSize, completeDefinition, type Definition } from '../domain/definition';
import { checkImageExists } from './check-image';
import { checkSecretsExist } from './check-secrets';
import { checkVolumesExist } from './check-volumes';
import { runtimeFromProto, webKindFromProto } from './to-proto';

/**
 * The definition in a request, complete, with the tree that holds its source; what it names of the app's environment is
 * there. Errors: `invalid`, `not_found`.
 */
export async function readDefinition(
  context: Pick<Context, 'db' | 'sync' | 'secrets' | 'volumes'>,
  request: FunctionDefinition,
  environment: string,
  call: CallContext,
): Promise<{ definition: Definition; source: string }> {
  const definition = completeDefinition({
    runtime: runtimeFromProto(request.runtime),
    handler: request.handler,
    image: request.image,
    gpu: request.gpu,
    cpu: request.cpu,
    memory: request.memory,
    timeout: request.timeout,
    startup_timeout: request.startupTimeout,
    retries: request.retries,
    retry_delay: request.retryDelay,
    min_containers: request.minContainers,
    max_containers: request.maxContainers,
    buffer_containers: request.bufferContainers,
    scaledown_window: request.scaledownWindow,
    max_concurrent_inputs: request.maxConcurrentInputs,
    batching: request.batching && {
      max_batch_size: request.batching.maxBatchSize,
      wait_ms: request.batching.waitMs,
    },
    env: request.env,
    secrets: request.secrets,
    volumes: request.volumes,
    schedule: request.schedule,
    web: request.web && {
      kind: webKindFromProto(request.web.kind),
      method: request.web.method,
      port: request.web.port,
      requires_proxy_auth: request.web.requiresProxyAuth,
    },
  });
  await checkSecretsExist(context, definition.secrets, environment, call);
  await checkVolumesExist(context, definition.volumes, environment, call);
  await checkImageExists(context, definition.image, call);
  return { definition, source: await findSource(context.sync, request, definition, call) };
}

async function findSource(
  sync: Context['sync'],
  { files, source }: Pick<FunctionDefinition, 'files' | 'source'>,
  definition: Definition,
  call: CallContext,
): Promise<string> {
  const paths = Object.keys(files);
  if (source && paths.length > 0) {
    throw new BerthError('invalid', 'Give files or source, not both.', { field: 'source' });
  }
  if (!source) {
    if (paths.length === 0) {
      throw new BerthError('invalid', 'files is missing: give {path: text}, or source, the id of a tree.', {
        field: 'files',
      });
    }
    checkModule(definition, paths);
    const { tree } = await sync.createTreeFromFiles(CreateTreeFromFilesRequest.fromPartial({ files }), {
      for: call,
    });
    return tree!.treeId;
  }
  const { tree } = await sync
    .getTree({ treeId: source, workspaceId: '' }, { for: call })
    .catch((error: unknown) => {
      if (!(error instanceof BerthError) || error.kind !== 'not_found') throw error;
      throw new BerthError('not_found', error.message, { field: 'source', cause: error });
    });
  checkSourceSize(tree!.entries.reduce((sum, { size }) => sum + Number(size), 0));
  checkModule(
    definition,
    tree!.entries.map(({ path }) => path),
  );
  return tree!.treeId;
}
