import type { CreateImageRequest, CreateImageResponse } from '@berth/contracts/functions/v1/images';
import { ListNodesRequest, NodeState } from '@berth/contracts/scheduler/v1/scheduler';
import { CreateTreeFromFilesRequest } from '@berth/contracts/sync/v1/sync';
import { IMAGE_BUILDS } from '@berth/events';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import {
  checkImage,
  contentHash,
  type GivenImage,
  type ImageDefinition,
  type Step,
} from '../domain/image-definition';
import { explainImage } from '../domain/image-waiting';
import { askForImage } from '../store/image-store';
import { imageFromProto, imageToProto } from './image-to-proto';

type Parts = Pick<Context, 'db' | 'sync' | 'scheduler' | 'bus' | 'workspaces' | 'secrets'>;

/** Gives the image of a definition, and has it built where it is not. Of many callers at once, one has it built. */
export const createImage =
  (parts: Parts) =>
  async (request: CreateImageRequest, call: CallContext): Promise<CreateImageResponse> => {
    const { db, bus, scheduler } = parts;
    const workspaceId = workspaceOf(call);
    const given = imageFromProto(request.definition!);
    checkImage(given);
    await checkBuilders(scheduler, call);
    const environment = await environmentOfSecret(parts, given, call);
    const definition = { ...(await storeFiles(parts, given, call)), environment };
    const { image, queued } = await db.transact((tx) =>
      askForImage(tx, { workspaceId, contentHash: contentHash(definition), definition }),
    );
    if (queued) bus.nats.publish(IMAGE_BUILDS);
    return { image: imageToProto(image, explainImage(image)) };
  };

/**
 * Where every node runs without containers, nobody will ever build it. No nodes, or a scheduler that does not answer, may
 * mean that they are about to come: the image waits for them.
 */
async function checkBuilders(scheduler: Parts['scheduler'], call: CallContext): Promise<void> {
  const { data } = await scheduler
    .listNodes(ListNodesRequest.fromPartial({ limit: 100 }), { for: call })
    .catch((error: unknown) => {
      if (error instanceof BerthError && ['unavailable', 'timeout'].includes(error.kind)) return { data: [] };
      throw error;
    });
  const nodes = data.filter(({ state }) => state === NodeState.NODE_STATE_READY);
  if (nodes.length === 0 || nodes.some(({ engine }) => engine !== 'process')) return;
  throw new BerthError(
    'precondition',
    'No node can build images: all of them run without containers (BERTH_ENGINE=process). Start Docker on one, and a runner with BERTH_ENGINE=docker.',
  );
}

/** The environment's own name, for a secret that is there. Errors: `not_found` with the field at fault. */
async function environmentOfSecret(
  { workspaces, secrets }: Parts,
  { registry_secret: name, environment: named }: GivenImage,
  call: CallContext,
): Promise<string> {
  if (!name) return '';
  const { environment } = await workspaces
    .getEnvironment({ name: named }, { for: call })
    .catch((error: unknown) => {
      throw atField(error, 'environment');
    });
  const { missing } = await secrets.findMissingSecrets(
    { environment: environment!.name, names: [name] },
    { for: call },
  );
  if (missing.length === 0) return environment!.name;
  throw new BerthError(
    'not_found',
    `The environment ${environment!.name} has no secret ${name}: make it first (POST /v1/secrets).`,
    { field: 'registry_secret' },
  );
}

/** The definition with its files as trees. Errors: `not_found` for a tree, with the field at fault. */
async function storeFiles(
  { sync }: Pick<Parts, 'sync'>,
  { files, ...given }: GivenImage,
  call: CallContext,
): Promise<ImageDefinition> {
  const store = async (texts: Record<string, string>, field: string): Promise<string> => {
    const { tree } = await sync
      .createTreeFromFiles(CreateTreeFromFilesRequest.fromPartial({ files: texts }), { for: call })
      .catch((error: unknown) => {
        throw atField(error, field);
      });
    return tree!.treeId;
  };
  const check = async (treeId: string, field: string): Promise<string> => {
    await sync.getTree({ treeId, workspaceId: '' }, { for: call }).catch((error: unknown) => {
      throw atField(error, field);
    });
    return treeId;
  };
  const steps: Step[] = [];
  for (const [index, step] of given.steps.entries()) {
    if (!('copy' in step)) steps.push(step);
    else {
      const { tree, files: texts, to } = step.copy;
      const at = `steps[${index}].copy`;
      steps.push({
        copy: { tree: tree ? await check(tree, `${at}.tree`) : await store(texts, `${at}.files`), to },
      });
    }
  }
  const context = given.context
    ? await check(given.context, 'context')
    : Object.keys(files).length > 0
      ? await store(files, 'files')
      : '';
  return { ...given, steps, context };
}

/** What sync says is wrong with files is said of the field that they came in. */
function atField(error: unknown, field: string): unknown {
  if (!(error instanceof BerthError) || !['invalid', 'not_found'].includes(error.kind)) return error;
  return new BerthError(error.kind, error.message, { field, cause: error });
}
