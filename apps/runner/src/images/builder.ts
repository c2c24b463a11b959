/**
 * Builds what `functions` wants built: claims a build when there is one and room for it, says that it goes on, and tells how
 * it ended. A word on core NATS says that there may be one; a look every few seconds finds what no word came of.
 */
import type {
  FinishImageBuildRequest,
  ImageBuild,
  ImageError,
  ImagesServiceService,
} from '@berth/contracts/functions/v1/images';
import { IMAGE_BUILDS, type Bus } from '@berth/events';
import { BerthError, type ClientOf, type Logger } from '@berth/service-kit';
import { infrastructureError, timeoutError, type BuildPlace } from '../domain/image-error';
import { Backoff } from '../files/backoff';
import { ImageLog } from './image-log';
import { BuildInterrupted, ImageBuildFailed, type NodeImages } from './node-images';

type Images = Pick<
  ClientOf<typeof ImagesServiceService>,
  'claimImageBuild' | 'renewImageBuild' | 'finishImageBuild'
>;

const LOOK_MS = 5_000;
const ANSWER_MS = 5_000;
/** At a time: more would only make each other slow. */
const BUILDS_MAX = 2;
const NO_PLACE: BuildPlace = { step: undefined, steps: undefined, stepText: '', logTail: [] };

/** Why a build was ended. */
class Ended extends Error {
  constructor(readonly why: 'timeout' | 'unwanted' | 'stopping') {
    super(why);
  }
}

export class Builder {
  #nodeId: string | undefined;
  #running = new Map<AbortController, Promise<void>>();
  #claiming: Promise<void> | undefined;
  #again = false;
  /** Nothing was claimed yet: what this node had begun before died with an earlier process. */
  #isNew = true;
  #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #stopHearing = () => {};

  constructor(
    private readonly images: Images,
    private readonly node: NodeImages,
    private readonly bus: Bus,
    private readonly log: Logger,
  ) {}

  /** Begins to build in the name of this node. A repeat changes the name only. */
  start(nodeId: string): void {
    this.#nodeId = nodeId;
    if (this.#timer || this.#stopped.signal.aborted) return;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
    const heard = this.bus.nats.subscribe(IMAGE_BUILDS, { callback: () => this.#look() });
    this.#stopHearing = () => heard.unsubscribe();
    this.#look();
  }

  /** Gives back what is being built; resolves when nothing is. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    clearInterval(this.#timer);
    this.#stopHearing();
    await this.#claiming;
    for (const controller of this.#running.keys()) controller.abort(new Ended('stopping'));
    await Promise.all(this.#running.values());
  }

  #look(): void {
    this.#again = true;
    this.#claiming ??= this.#claim().finally(() => (this.#claiming = undefined));
  }

  async #claim(): Promise<void> {
    while (this.#again && this.#running.size < BUILDS_MAX && !this.#stopped.signal.aborted) {
      this.#again = false;
      try {
        const { build, leaseSeconds } = await this.images.claimImageBuild(
          { nodeId: this.#nodeId!, restarted: this.#isNew },
          { timeoutMs: ANSWER_MS },
        );
        this.#isNew = false;
        if (!build) continue;
        this.#again = true; // There may be more.
        const controller = new AbortController();
        const running = this.#run(build, leaseSeconds, controller).finally(() => {
          this.#running.delete(controller);
          this.#look();
        });
        this.#running.set(controller, running);
      } catch (error) {
        const absent = error instanceof BerthError && ['unavailable', 'timeout'].includes(error.kind);
        if (!absent) this.log.warn({ err: error }, 'a build could not be claimed: trying again');
      }
    }
  }

  async #run(build: ImageBuild, leaseSeconds: number, controller: AbortController): Promise<void> {
    const { imageId, attempt, timeoutSeconds } = build;
    const log = this.log.child({ imageId, attempt });
    const lines = new ImageLog(this.bus, build);
    const renewing = setInterval(() => void this.#renew(build, controller), (leaseSeconds * 1000) / 4);
    const late = setTimeout(() => controller.abort(new Ended('timeout')), timeoutSeconds * 1000);
    let error: ImageError | undefined;
    try {
      log.info('an image is being built');
      await this.node.build(build, (line) => lines.say(line), controller.signal);
    } catch (thrown) {
      const ended = thrown instanceof BuildInterrupted ? thrown.reason : thrown;
      if (ended instanceof Ended && ended.why === 'unwanted') return;
      const place = thrown instanceof BuildInterrupted ? thrown.place : NO_PLACE;
      error = this.#errorOf(ended, timeoutSeconds, place);
      await lines.say(error.message);
    } finally {
      clearInterval(renewing);
      clearTimeout(late);
    }
    log.info({ error: error?.type }, 'a build ended');
    await lines.end();
    await this.#finish({ imageId, attempt, error });
  }

  #errorOf(thrown: unknown, timeoutSeconds: number, place: BuildPlace): ImageError {
    if (thrown instanceof ImageBuildFailed) return thrown.error;
    if (thrown instanceof Ended) {
      return thrown.why === 'timeout'
        ? timeoutError(timeoutSeconds, place)
        : infrastructureError('The node that built it is being stopped.');
    }
    this.log.error({ err: thrown }, 'a build failed by a bug');
    return infrastructureError(
      'The image could not be built. The log of the runner that tried has the reason.',
    );
  }

  async #renew({ imageId, attempt }: ImageBuild, controller: AbortController): Promise<void> {
    try {
      await this.images.renewImageBuild({ imageId, attempt }, { timeoutMs: ANSWER_MS });
    } catch (error) {
      // Somebody else has it by now, or nobody wants it. One that cannot be renewed for a moment goes on.
      if (error instanceof BerthError && error.kind === 'precondition')
        controller.abort(new Ended('unwanted'));
    }
  }

  /** Told until it is heard; one that stops leaves it to the end of its lease. */
  async #finish(outcome: FinishImageBuildRequest): Promise<void> {
    const backoff = new Backoff(100, 2000);
    for (;;) {
      try {
        await this.images.finishImageBuild(outcome, { timeoutMs: ANSWER_MS });
        return;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        this.log.warn(
          { err: error, imageId: outcome.imageId },
          'the end of a build was not heard: telling it again',
        );
        await backoff.wait(this.#stopped.signal);
      }
    }
  }
}
