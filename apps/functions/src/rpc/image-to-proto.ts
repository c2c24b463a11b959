import {
  ImageDefinition as ImageDefinitionMessage,
  ImageState as ImageStateMessage,
  type Image,
  type ImageBuild,
  type ImageError as ImageErrorMessage,
  type ImageStep,
} from '@berth/contracts/functions/v1/images';
import { BerthError } from '@berth/service-kit';
import {
  asBuilt,
  basesOfImage,
  type GivenImage,
  type GivenStep,
  type ImageDefinition,
  type Step,
} from '../domain/image-definition';
import { BUILD_SECONDS_MAX, type ImageError, type ImageState } from '../domain/image-state';
import type { ImageRow } from '../store/image-store';

const STATES: Record<ImageState, ImageStateMessage> = {
  queued: ImageStateMessage.IMAGE_STATE_BUILDING,
  building: ImageStateMessage.IMAGE_STATE_BUILDING,
  ready: ImageStateMessage.IMAGE_STATE_READY,
  failed: ImageStateMessage.IMAGE_STATE_FAILED,
};

/** The states that are shown as this one; undefined for any. */
export const imageStatesFromProto = (state: ImageStateMessage): ImageState[] | undefined =>
  state === ImageStateMessage.IMAGE_STATE_UNSPECIFIED
    ? undefined
    : (Object.keys(STATES) as ImageState[]).filter((each) => STATES[each] === state);

/** Errors: `invalid` for a step that is none. */
export const imageFromProto = (message: ImageDefinitionMessage): GivenImage => ({
  base: message.base,
  containerfile: message.containerfile,
  context: message.context,
  files: message.files,
  registry_secret: message.registrySecret,
  environment: message.environment,
  steps: message.steps.map(stepFromProto),
});

function stepFromProto({ step }: ImageStep, index: number): GivenStep {
  switch (step?.$case) {
    case 'aptInstall':
      return { apt_install: { packages: step.value.packages } };
    case 'pipInstall': {
      const { packages, requirements, indexUrl, extraIndexUrls, findLinks, pre } = step.value;
      return {
        pip_install: {
          packages,
          requirements,
          index_url: indexUrl,
          extra_index_urls: extraIndexUrls,
          find_links: findLinks,
          pre,
        },
      };
    }
    case 'npmInstall':
      return { npm_install: { packages: step.value.packages, registry_url: step.value.registryUrl } };
    case 'runCommands':
      return { run_commands: { commands: step.value.commands } };
    case 'copy':
      return { copy: step.value };
    case 'env':
      return { env: { variables: step.value.variables } };
    case 'workdir':
      return { workdir: { path: step.value.path } };
    default:
      throw new BerthError(
        'invalid',
        `steps[${index}] says nothing to do: give it one of the kinds of steps.`,
        {
          field: `steps[${index}]`,
        },
      );
  }
}

const stepToProto = (step: Step): ImageStep['step'] => {
  if ('apt_install' in step) return { $case: 'aptInstall', value: step.apt_install };
  if ('pip_install' in step) {
    const { packages, requirements, index_url, extra_index_urls, find_links, pre } = step.pip_install;
    return {
      $case: 'pipInstall',
      value: {
        packages,
        requirements,
        indexUrl: index_url,
        extraIndexUrls: extra_index_urls,
        findLinks: find_links,
        pre,
      },
    };
  }
  if ('npm_install' in step) {
    const { packages, registry_url } = step.npm_install;
    return { $case: 'npmInstall', value: { packages, registryUrl: registry_url } };
  }
  if ('run_commands' in step) return { $case: 'runCommands', value: step.run_commands };
  if ('copy' in step) return { $case: 'copy', value: { ...step.copy, files: {} } };
  if ('env' in step) return { $case: 'env', value: step.env };
  return { $case: 'workdir', value: step.workdir };
};

export const definitionToProto = (definition: ImageDefinition): ImageDefinitionMessage => ({
  base: definition.base,
  containerfile: definition.containerfile,
  context: definition.context,
  files: {},
  registrySecret: definition.registry_secret,
  environment: definition.environment,
  steps: definition.steps.map((step) => ({ step: stepToProto(step) })),
});

const errorToProto = ({ type, message, step, step_text, log_tail }: ImageError): ImageErrorMessage => ({
  type,
  message,
  step,
  stepText: step_text,
  logTail: log_tail,
});

export const imageErrorFromProto = (error: ImageErrorMessage): ImageError => ({
  type: error.type,
  message: error.message,
  step: error.step,
  step_text: error.stepText,
  log_tail: error.logTail,
});

/** `waiting` says why it is not being built yet. */
export const imageToProto = (row: ImageRow, waiting?: string): Image => ({
  imageId: row.id,
  state: STATES[row.state],
  definition: definitionToProto(row.definition),
  contentHash: row.content_hash,
  error: row.error ? errorToProto(row.error) : undefined,
  createdAt: row.created_at,
  startedAt: row.started_at ?? undefined,
  finishedAt: row.finished_at ?? undefined,
  attempts: row.attempt,
  waiting,
});

export const buildToProto = (row: ImageRow): ImageBuild => ({
  imageId: row.id,
  workspaceId: row.workspace_id,
  attempt: row.attempt,
  definition: definitionToProto(asBuilt(row.definition)),
  timeoutSeconds: BUILD_SECONDS_MAX,
  bases: basesOfImage(row.definition),
});
