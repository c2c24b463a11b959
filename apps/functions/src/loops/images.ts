/**
 * What follows when an image is built or has failed: its log ends, and the functions that wait for it go on. A slow scan
 * finds what a process that died left unsaid, and ends builds that nobody will end.
 */
import { encodeImageLog } from '@berth/events';
import type { Context } from '../context';
import {
  failAbandonedImages,
  listFinishedSince,
  listPoolsOfImage,
  type ImageRow,
} from '../store/image-store';

type Parts = Pick<Context, 'db' | 'bus' | 'log' | 'autoscaler'>;

const EVERY_MS = 5_000;
/** Images that ended in this time are looked at again, whoever announced them. */
const ANNOUNCED_AGAIN_MS = 60_000;

/** Says that an image is built or has failed; nothing is lost where that does not get through. */
export async function announceImage(parts: Parts, image: ImageRow): Promise<void> {
  const { bus, log } = parts;
  await goOn(parts, image.id);
  const { subject, headers, data } = encodeImageLog({
    workspaceId: image.workspace_id,
    imageId: image.id,
    attempt: image.attempt,
    time: new Date(),
    text: '',
    end: true,
  });
  await bus.jetstream
    .publish(subject, data, { headers })
    .catch((error: unknown) => log.warn({ err: error }, 'the end of a log could not be marked'));
}

/** Functions on this image get containers, or their calls are told that they will not. */
async function goOn({ db, autoscaler }: Pick<Parts, 'db' | 'autoscaler'>, imageId: string): Promise<void> {
  for (const { functionId, version } of await listPoolsOfImage(db, imageId)) {
    autoscaler.consider(functionId, version);
  }
}

export class Images {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(private readonly parts: Parts) {}

  start(): void {
    this.timer ??= setInterval(() => (this.running ??= this.round()), EVERY_MS);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private async round(): Promise<void> {
    const { db, log } = this.parts;
    try {
      for (const image of await failAbandonedImages(db)) await announceImage(this.parts, image);
      for (const { id } of await listFinishedSince(db, new Date(Date.now() - ANNOUNCED_AGAIN_MS))) {
        await goOn(this.parts, id);
      }
    } catch (error) {
      log.warn({ err: error }, 'a look at the images ended early: the next one goes on');
    } finally {
      this.running = undefined;
    }
  }
}
