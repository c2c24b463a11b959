import { setTimeout } from 'node:timers/promises';
import type { Http } from './http';
import type { Tree } from './types';

/** What an image is: a base with steps, or a Containerfile. The same definition is the same image. */
export interface ImageDefinition {
  /** A registry reference. Default: Berth's own base image, with python3 and node. */
  base?: string;
  steps?: ImageStep[];
  /** Text of a Containerfile; exclusive with `base` and `steps`. */
  containerfile?: string;
  /** What its COPY names: the id of an uploaded tree, or `files`. */
  context?: string;
  files?: Record<string, string>;
  /** The name of a secret with REGISTRY_USERNAME and REGISTRY_PASSWORD. */
  registry_secret?: string;
  /** The environment of that secret. Default: the workspace's default environment. */
  environment?: string;
}

export type ImageStep =
  | { apt_install: { packages: string[] } }
  | { pip_install: PipInstall }
  | { npm_install: { packages: string[]; registry_url?: string } }
  | { run_commands: { commands: string[] } }
  | { copy: CopyFiles }
  | { env: { variables: Record<string, string> } }
  | { workdir: { path: string } };

export interface PipInstall {
  packages?: string[];
  /** Text of a requirements file. */
  requirements?: string;
  index_url?: string;
  extra_index_urls?: string[];
  find_links?: string[];
  pre?: boolean;
}

export interface CopyFiles {
  /** The id of an uploaded tree. */
  tree?: string;
  /** Path to text. */
  files?: Record<string, string>;
  /** A folder on this machine: `images.build` uploads it. */
  from?: string;
  /** The folder that they are put into. */
  to: string;
}

export type ImageState = 'building' | 'ready' | 'failed';

export interface BuiltImage {
  image_id: string;
  state: ImageState;
  definition: ImageDefinition;
  content_hash: string;
  error: ImageError | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  attempts: number;
  /** Why it is not being built yet. */
  waiting: string | null;
}

export interface ImageError {
  type: string;
  message: string;
  /** From 0. */
  step: number | null;
  step_text: string;
  log_tail: string[];
}

export interface ImageLogLine {
  time: string;
  text: string;
  attempt: number;
}

/** An image that could not be built; its log was given line by line before. */
export class ImageBuildFailed extends Error {
  constructor(readonly image: BuiltImage) {
    super(image.error?.message ?? `The image ${image.image_id} could not be built.`);
    this.name = 'ImageBuildFailed';
  }
}

/**
 * What an image is, step by step. Each call gives a new one, so that several may begin alike.
 *
 * ```ts
 * const image = Image.debianSlim().aptInstall('ffmpeg').pipInstall('numpy', 'pillow==11.0.0');
 * const { image_id } = await berth.images.build(image, { onLine: ({ text }) => console.log(text) });
 * ```
 */
export class Image {
  private constructor(readonly definition: ImageDefinition) {}

  /** Berth's own base image: Debian with python3 and node. */
  static debianSlim(): Image {
    return new Image({ steps: [] });
  }

  static fromRegistry(base: string, options: { secret?: string; environment?: string } = {}): Image {
    return new Image({ base, steps: [], ...registry(options) });
  }

  /** `context` is a folder on this machine; `files` are paths and their text. */
  static containerfile(
    text: string,
    options: { context?: string; files?: Record<string, string>; secret?: string; environment?: string } = {},
  ): Image {
    const { context, files } = options;
    return new Image({
      containerfile: text,
      ...(context === undefined ? {} : { context }),
      ...(files ? { files } : {}),
      ...registry(options),
    });
  }

  aptInstall(...packages: string[]): Image {
    return this.with({ apt_install: { packages } });
  }

  /** As pip takes them; options last. */
  pipInstall(...args: (string | Omit<PipInstall, 'packages'>)[]): Image {
    const packages = args.filter((each) => typeof each === 'string');
    const options = args.find((each) => typeof each !== 'string');
    return this.with({ pip_install: { ...(packages.length > 0 ? { packages } : {}), ...options } });
  }

  npmInstall(...packages: string[]): Image {
    return this.with({ npm_install: { packages } });
  }

  /** Each in a shell, as root. */
  runCommands(...commands: string[]): Image {
    return this.with({ run_commands: { commands } });
  }

  /** The files below a folder of this machine. */
  copyFolder(from: string, to: string): Image {
    return this.with({ copy: { from, to } });
  }

  copyFiles(files: Record<string, string>, to: string): Image {
    return this.with({ copy: { files, to } });
  }

  env(variables: Record<string, string>): Image {
    return this.with({ env: { variables } });
  }

  workdir(path: string): Image {
    return this.with({ workdir: { path } });
  }

  private with(step: ImageStep): Image {
    if (!this.definition.steps) throw new Error('A Containerfile says all that it does: write it there.');
    return new Image({ ...this.definition, steps: [...this.definition.steps, step] });
  }
}

const registry = ({ secret, environment }: { secret?: string; environment?: string }) => ({
  ...(secret ? { registry_secret: secret } : {}),
  ...(environment ? { environment } : {}),
});

const AGAIN_MS = 300;

/** Images of the workspace. */
export class Images {
  constructor(
    private readonly http: Http,
    private readonly upload: (folder: string) => Promise<Tree>,
  ) {}

  /** Asks for it, and does not wait until it is built. */
  create(definition: ImageDefinition): Promise<BuiltImage> {
    return this.http.json('POST', '/v1/images', { body: definition });
  }

  get(imageId: string): Promise<BuiltImage> {
    return this.http.json('GET', `/v1/images/${encodeURIComponent(imageId)}`);
  }

  list(filter: { state?: ImageState } = {}): AsyncGenerator<BuiltImage> {
    return this.http.pages('/v1/images', { query: filter });
  }

  /** The lines of its last build; with `follow` also those to come, until it is built or has failed. */
  logs(
    imageId: string,
    { follow }: { follow?: boolean } = {},
    signal?: AbortSignal,
  ): AsyncGenerator<ImageLogLine> {
    return this.http.lines(`/v1/images/${encodeURIComponent(imageId)}/logs`, {
      ...(follow ? { query: { follow } } : {}),
      ...(signal ? { signal } : {}),
    });
  }

  delete(imageId: string): Promise<void> {
    return this.http.json('DELETE', `/v1/images/${encodeURIComponent(imageId)}`);
  }

  /**
   * Has it built and waits, over restarts of the platform; what is there already is there at once. Folders of this machine
   * are uploaded first. Throws ImageBuildFailed.
   */
  async build(
    image: Image | ImageDefinition,
    { onLine, signal }: { onLine?: (line: ImageLogLine) => void; signal?: AbortSignal } = {},
  ): Promise<BuiltImage> {
    const definition = await this.uploaded(image instanceof Image ? image.definition : image);
    let current = await this.create(definition);
    const seen = new Map<number, number>();
    while (current.state === 'building') {
      await this.follow(current.image_id, seen, onLine, signal);
      current = await this.get(current.image_id);
      if (current.state === 'building') await setTimeout(AGAIN_MS, undefined, { signal });
    }
    if (current.state === 'failed') throw new ImageBuildFailed(current);
    return current;
  }

  /** A stream that breaks off is begun anew, and what was given is not given again. */
  private async follow(
    imageId: string,
    seen: Map<number, number>,
    onLine: ((line: ImageLogLine) => void) | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const now = new Map<number, number>();
    try {
      for await (const line of this.logs(imageId, { follow: true }, signal)) {
        const index = (now.get(line.attempt) ?? 0) + 1;
        now.set(line.attempt, index);
        if (index <= (seen.get(line.attempt) ?? 0)) continue;
        seen.set(line.attempt, index);
        onLine?.(line);
      }
    } catch (error) {
      signal?.throwIfAborted();
      // Its state says more than a broken stream: the next look at that throws where nobody answers.
      if ((error as { status?: number }).status === 404) throw error;
    }
  }

  private async uploaded(definition: ImageDefinition): Promise<ImageDefinition> {
    const { context, steps, ...rest } = definition;
    const isTree = (text: string) => /^tr-[0-9A-Za-z]{22}$/.test(text);
    return {
      ...rest,
      ...(context ? { context: isTree(context) ? context : (await this.upload(context)).tree_id } : {}),
      ...(steps ? { steps: await Promise.all(steps.map((step) => this.uploadedStep(step))) } : {}),
    };
  }

  private async uploadedStep(step: ImageStep): Promise<ImageStep> {
    if (!('copy' in step) || step.copy.from === undefined) return step;
    const { from, to } = step.copy;
    return { copy: { tree: (await this.upload(from)).tree_id, to } };
  }
}
