/**
 * The images of this node: built here, pulled here, and removed when there are too many. An image of ours has its id as its
 * name, so that nobody can name one without knowing it; a node that misses one makes it from its definition.
 *
 * Of a build that fails, what was finished is kept under a name of its own: the next one goes on from there, and it is
 * removed as images are, when it was not used for long.
 */
import type { ImageBuild, ImageError, ImagesServiceService } from '@berth/contracts/functions/v1/images';
import type { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import { EngineError, type BuildError, type ContainerEngine } from '@berth/container-engine';
import { BerthError, type ClientOf, type Logger } from '@berth/service-kit';
import type { HeldSource, Sources } from '../containers/sources';
import { errorOfBase, errorOfBuild, infrastructureError, type BuildPlace } from '../domain/image-error';
import { planImage, type BuildNetwork, type ImagePlan } from '../domain/image-plan';
import { SharedLock } from '../files/shared-lock';
import type { UnfinishedBuilds } from './unfinished-builds';
import type { UsedImages } from './used-images';

export interface BuildSettings {
  network: BuildNetwork;
  /** HTTP_PROXY and its kin: the builder keeps them out of the image. */
  proxies: Record<string, string>;
  memoryMib: number;
  cpus: number;
  /** What images that are not in use may take together. */
  keptBytesMax: number;
}

export interface NodeImagesTools {
  engine: ContainerEngine;
  sources: Sources;
  used: UsedImages;
  unfinished: UnfinishedBuilds;
  images: Pick<ClientOf<typeof ImagesServiceService>, 'getImageBuild'>;
  secrets: Pick<ClientOf<typeof SecretServiceService>, 'openSecrets'>;
  settings: BuildSettings;
  log: Logger;
}

/** It was not built, for a reason that whoever asked is told. */
export class ImageBuildFailed extends Error {
  constructor(readonly error: ImageError) {
    super(error.message);
  }
}

/** It was ended by its signal, for that reason, when it was there. */
export class BuildInterrupted extends Error {
  constructor(
    readonly reason: unknown,
    readonly place: BuildPlace,
  ) {
    super('the build was interrupted');
  }
}

/** An image that a container is made of. */
export interface HeldImage {
  /** Under which the engine knows it. */
  reference: string;
  /** Resolves when a container may be made of what is there under that name, if anything is. */
  mayCreate(): Promise<void>;
  /** Makes it present. Errors: `ImageBuildFailed`; an engine's for one that is pulled. */
  ensure(): Promise<void>;
  /** It may go now, when there are too many. Safe to repeat. */
  release(): void;
}

const IMAGE_ID = /^im-[0-9A-Za-z]{22}$/;
const nameOfImage = (imageId: string): string => `berth/image:${imageId}`;
const cacheOf = (imageId: string): string => `berth/cache:${imageId}-`;

const LOG_TAIL_LINES = 30;
const MIB = 1024 * 1024;
/** What the builder says of its own doings. */
const NOISE =
  /^( ---> ([0-9a-f]{12}|Running in [0-9a-f]{12})|Removing intermediate container .*|Successfully (built|tagged) .*|\[Warning\] One or more build-args .*)$/;

export class NodeImages {
  readonly #lock = new SharedLock();
  /** By image: the build of it that is under way. */
  readonly #building = new Map<string, Promise<void>>();
  readonly #ensuring = new Map<string, Promise<void>>();
  /** Bases that were pulled with a secret, while they have the name under which anybody would find them. */
  readonly #private = new Map<string, Promise<unknown>>();
  readonly #closing = new AbortController();
  #collecting: Promise<void> | undefined;

  constructor(private readonly tools: NodeImagesTools) {}

  hold(workspaceId: string, image: string): HeldImage {
    const { used } = this.tools;
    const isOurs = IMAGE_ID.test(image);
    const reference = isOurs ? nameOfImage(image) : image;
    return {
      reference,
      release: used.hold(reference),
      mayCreate: async () => {
        await this.#private.get(reference)?.catch(() => undefined);
      },
      ensure: () => {
        let ensuring = this.#ensuring.get(reference);
        if (!ensuring) {
          ensuring = (isOurs ? this.#make(workspaceId, image) : this.#pull(reference)).finally(() =>
            this.#ensuring.delete(reference),
          );
          this.#ensuring.set(reference, ensuring);
        }
        return ensuring;
      },
    };
  }

  /**
   * Builds an image here; one build of an image at a time. `say` is given each line of its log.
   * Errors: `ImageBuildFailed`; `BuildInterrupted`, or before anything was built what `signal` was aborted with.
   */
  async build(build: ImageBuild, say: (line: string) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { imageId } = build;
    const earlier = this.#building.get(imageId);
    const work = (async () => {
      await earlier?.catch(() => undefined);
      signal.throwIfAborted();
      const names = await this.#bases(build, say, signal);
      await this.#lock.shared(() => this.#build(build, names, say, signal));
    })();
    this.#building.set(imageId, work);
    try {
      await work;
    } finally {
      if (this.#building.get(imageId) === work) this.#building.delete(imageId);
      for (const name of this.#ownNamesOfBases(build)) {
        await this.tools.engine.removeImage(name).catch((error: unknown) => {
          this.tools.log.warn({ err: error, name }, 'a base could not be let go of');
        });
      }
      this.#collectSoon();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([...this.#building.values(), this.#collecting]);
  }

  /** What a node misses that others have, it makes for itself. */
  async #make(workspaceId: string, imageId: string): Promise<void> {
    const { engine, images } = this.tools;
    if (await engine.findImage(nameOfImage(imageId))) return;
    const { build } = await images.getImageBuild({ workspaceId, imageId }).catch((error: unknown) => {
      const gone = error instanceof BerthError && error.kind === 'not_found';
      const message = gone ? `The image ${imageId} was deleted.` : (error as Error).message;
      throw new ImageBuildFailed({
        ...infrastructureError(message),
        ...(gone ? { type: 'image_failed' } : {}),
      });
    });
    const late = AbortSignal.timeout(build!.timeoutSeconds * 1000);
    await this.build(build!, async () => {}, AbortSignal.any([late, this.#closing.signal]));
  }

  async #pull(reference: string): Promise<void> {
    const { engine, used } = this.tools;
    if (await engine.findImage(reference)) return;
    await engine.pull(reference, { signal: this.#closing.signal });
    await used.add(reference);
    this.#collectSoon();
  }

  /** Makes what a build begins with present; gives the name that each has here. */
  async #bases(
    build: ImageBuild,
    say: (line: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Map<string, string>> {
    const { engine, used } = this.tools;
    const auth = await this.#auth(build);
    const names = new Map<string, string>();
    for (const [index, base] of build.bases.entries()) {
      const pull = async () => {
        if (await engine.findImage(base)) return base;
        await say(`Pulling ${base}`);
        if (auth) return this.#pullOwn(base, `${cacheOf(build.imageId)}base-${index}`, auth, signal);
        await engine.pull(base, { signal });
        await used.add(base);
        return base;
      };
      try {
        names.set(base, await (auth ? this.#inPrivate(base, pull) : pull()));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof EngineError) throw new ImageBuildFailed(errorOfBase(base, error));
        throw error;
      }
      const { onBuild = [] } = (await engine.findImage(names.get(base)!)) ?? {};
      if (onBuild.length > 0) {
        const why = 'it has ONBUILD instructions, which would run in the name of whoever builds';
        throw new ImageBuildFailed(
          errorOfBase(base, { kind: 'invalid', message: `${base} cannot be built on: ${why}.` }),
        );
      }
    }
    return names;
  }

  /** Nobody else may find what was pulled with a secret: while it has its own name, nothing else is built or pulled. */
  #inPrivate<T>(base: string, pull: () => Promise<T>): Promise<T> {
    const pulling = this.#lock.alone(pull);
    this.#private.set(base, pulling);
    return pulling.finally(() => {
      if (this.#private.get(base) === pulling) this.#private.delete(base);
    });
  }

  /** Whatever ends it, the name under which others would find it goes: at the next start, if not before. */
  async #pullOwn(
    base: string,
    name: string,
    auth: { username: string; password: string },
    signal: AbortSignal,
  ): Promise<string> {
    const { engine, unfinished, log } = this.tools;
    const reference = /(:[^/]+|@sha256:[0-9a-f]+)$/.test(base) ? base : `${base}:latest`;
    unfinished.notePull(reference);
    try {
      await engine.pull(base, { signal, auth });
      await engine.tagImage(reference, name);
    } finally {
      await engine
        .removeImage(reference)
        .then(() => unfinished.forgetPull(reference))
        .catch((error: unknown) => {
          log.error({ err: error, reference }, 'what was pulled with a secret is there for others');
          throw error;
        });
    }
    return name;
  }

  #ownNamesOfBases({ imageId, bases, definition }: ImageBuild): string[] {
    return definition?.registrySecret ? bases.map((_, index) => `${cacheOf(imageId)}base-${index}`) : [];
  }

  async #auth({ workspaceId, definition }: ImageBuild) {
    const { registrySecret, environment } = definition!;
    if (!registrySecret) return undefined;
    const { env } = await this.tools.secrets
      .openSecrets({ workspaceId, environment, names: [registrySecret] })
      .catch((error: unknown) => {
        const gone = error instanceof BerthError && error.kind === 'not_found';
        throw new ImageBuildFailed({
          ...infrastructureError((error as Error).message),
          ...(gone ? { type: 'secret_not_found' } : {}),
        });
      });
    const { REGISTRY_USERNAME: username, REGISTRY_PASSWORD: password } = env;
    if (username !== undefined && password !== undefined) return { username, password };
    throw new ImageBuildFailed({
      ...infrastructureError(`The secret ${registrySecret} has no REGISTRY_USERNAME and REGISTRY_PASSWORD.`),
      type: 'secret_not_found',
    });
  }

  async #build(
    build: ImageBuild,
    names: ReadonlyMap<string, string>,
    say: (line: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { engine, settings, used, unfinished } = this.tools;
    const { imageId, definition } = build;
    const plan = planImage(definition!, settings.network, (base) => names.get(base) ?? base);
    const held = new Map<string, HeldSource>();
    const place: BuildPlace = {
      step: undefined,
      steps: plan.steps.length || undefined,
      stepText: '',
      logTail: [],
    };
    const layers = new Layers();
    const print = async (line: string) => {
      place.logTail = [...place.logTail.slice(1 - LOG_TAIL_LINES), line];
      await say(line);
    };
    try {
      const context = await this.#fetch(build, plan, held);
      await engine.build(
        {
          containerfile: plan.containerfile,
          ...context,
          contextFiles: plan.files,
          tag: nameOfImage(imageId),
          buildArgs: { ...settings.proxies, ...indexArguments(settings.network) },
          memoryBytes: settings.memoryMib * MIB,
          cpus: settings.cpus,
        },
        {
          signal,
          onInstruction: async (index, text) => {
            layers.begin(text);
            const step = plan.stepOf(index);
            if (step === undefined || step === place.step) return;
            place.step = step;
            place.stepText = plan.steps[step] ?? text;
            if (place.steps) await print(`Step ${step + 1} of ${place.steps}: ${place.stepText}`);
          },
          onLayer: (id) => {
            if (layers.add(id)) unfinished.note(imageId, id);
          },
          onLog: async (line) => {
            if (NOISE.test(line) || (place.steps !== undefined && /^Step \d+\/\d+ : /.test(line))) return;
            if (line === ' ---> Using cache')
              return place.step === undefined ? undefined : print('  as built before');
            await print(line);
          },
        },
      );
      await used.add(nameOfImage(imageId));
      await this.#keepLayers(imageId, layers.besidesTheLast());
    } catch (error) {
      await this.#keepLayers(imageId, layers.all()).catch((failure: unknown) =>
        this.tools.log.warn({ err: failure, imageId }, 'layers of a failed build could not be kept'),
      );
      if (signal.aborted) throw new BuildInterrupted(signal.reason, place);
      if (!(error instanceof EngineError)) throw error;
      throw new ImageBuildFailed(errorOfBuild(error as BuildError, place, settings.memoryMib));
    } finally {
      for (const source of held.values()) source.release();
    }
  }

  async #fetch({ workspaceId }: ImageBuild, plan: ImagePlan, held: Map<string, HeldSource>) {
    const folderOf = (treeId: string) => {
      const source = held.get(treeId) ?? this.tools.sources.hold(workspaceId, treeId);
      held.set(treeId, source);
      return source.folder.catch((error: unknown) => {
        throw new ImageBuildFailed(
          infrastructureError(`Its files could not be fetched: ${(error as Error).message}`),
        );
      });
    };
    const folders: Record<string, string> = {};
    for (const [name, treeId] of Object.entries(plan.trees)) folders[name] = await folderOf(treeId);
    return {
      contextFolders: folders,
      ...(plan.context ? { contextDir: await folderOf(plan.context) } : {}),
    };
  }

  /** Gives these layers names, in place of those that an earlier build of this image left. */
  async #keepLayers(imageId: string, layers: readonly string[]): Promise<void> {
    const { engine, used, unfinished } = this.tools;
    const names = layers.map((_, index) => `${cacheOf(imageId)}${index}`);
    for (const [index, layer] of layers.entries()) {
      await engine.tagImage(layer, names[index]!);
      await used.add(names[index]!);
    }
    for (const name of used.withPrefix(cacheOf(imageId))) {
      if (names.includes(name)) continue;
      await engine.removeImage(name);
      await used.forget(name);
    }
    await unfinished.forget(imageId);
  }

  #collectSoon(): void {
    const { used, settings, log } = this.tools;
    if (this.#closing.signal.aborted) return;
    this.#collecting ??= this.#lock
      .alone(() => used.keepWithin(settings.keptBytesMax))
      .catch((error: unknown) => log.warn({ err: error }, 'images could not be removed'))
      .finally(() => (this.#collecting = undefined));
  }
}

/** For Containerfiles that declare them. */
const indexArguments = ({ pipIndexUrl, npmRegistryUrl }: BuildNetwork): Record<string, string> => ({
  ...(pipIndexUrl ? { PIP_INDEX_URL: pipIndexUrl } : {}),
  ...(npmRegistryUrl ? { NPM_CONFIG_REGISTRY: npmRegistryUrl } : {}),
});

/** The layers that a build made, the newest of each stage. What a stage begins with is not its own. */
class Layers {
  readonly #newest: (string | undefined)[] = [];
  #isBase = false;

  begin(instruction: string): void {
    this.#isBase = /^FROM\s/i.test(instruction);
    if (this.#isBase) this.#newest.push(undefined);
  }

  /** Whether it is one that the build made. */
  add(layer: string): boolean {
    if (this.#isBase || this.#newest.length === 0) return false;
    this.#newest[this.#newest.length - 1] = layer;
    return true;
  }

  all(): string[] {
    return this.#newest.filter((layer) => layer !== undefined);
  }

  /** The last stage's is the image. */
  besidesTheLast(): string[] {
    return this.#newest.slice(0, -1).filter((layer) => layer !== undefined);
  }
}
