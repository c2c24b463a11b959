import type { StreamImageLogsRequest, StreamImageLogsResponse } from '@berth/contracts/functions/v1/images';
import { decodeImageLog, imageLogSubject } from '@berth/events';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findImage, type ImageRow } from '../store/image-store';
import { noSuchImage } from './not-found';

/** How often a log that is followed is asked whether it has ended without saying so. */
const LOOK_MS = 5_000;

/** The lines of an image's last build, oldest first; with `follow`, those to come until it is built or has failed. */
export const streamImageLogs = ({ db, bus, stopping }: Pick<Context, 'db' | 'bus' | 'stopping'>) =>
  async function* (
    { imageId, follow }: StreamImageLogsRequest,
    call: CallContext,
  ): AsyncGenerator<StreamImageLogsResponse> {
    const workspaceId = workspaceOf(call);
    const image = await findImage(db, workspaceId, imageId);
    if (!image) throw noSuchImage();
    const attemptMin = image.state === 'queued' ? image.attempt + 1 : image.attempt;
    const live = follow && !isOver(image);
    const consumer = await bus.jetstream.consumers.get('BERTH_LOGS', {
      filter_subjects: imageLogSubject({ workspaceId, imageId: image.id }),
    });
    const { num_pending: history } = await consumer.info();
    if (history === 0 && !live) return;

    /** Its runner has ended, or it was deleted. */
    const hasEnded = async () => {
      const now = await findImage(db, workspaceId, image.id);
      return !now || isOver(now);
    };
    const messages = await consumer.consume();
    const stop = () => messages.stop();
    call.signal.addEventListener('abort', stop, { once: true });
    stopping.signal.addEventListener('abort', stop, { once: true });
    let quiet = true;
    const looking = setInterval(() => {
      if (quiet)
        hasEnded().then(
          (ended) => ended && quiet && stop(),
          () => undefined,
        );
      quiet = true;
    }, LOOK_MS).unref();
    try {
      for await (const message of messages) {
        quiet = false;
        const line = decodeImageLog(message);
        if (line && !line.end && line.attempt >= attemptMin) {
          yield { time: line.time, text: line.text, attempt: line.attempt };
        }
        if (!live && message.info.pending === 0) return;
        if (live && line?.end && line.attempt >= attemptMin && (await hasEnded())) return;
      }
    } finally {
      clearInterval(looking);
      call.signal.removeEventListener('abort', stop);
      stopping.signal.removeEventListener('abort', stop);
      messages.stop();
    }
  };

const isOver = ({ state }: ImageRow): boolean => state === 'ready' || state === 'failed';
