/**
 * Builds of images: that there is one to do, on core NATS (a hint; `functions.ClaimImageBuild` is the truth, asked every
 * few seconds as well), and what they print, in BERTH_LOGS.
 */
import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node';
import type { ReceivedMessage } from './input-message';

export const IMAGE_BUILDS = 'berth.image-builds';

export interface ImageLogLine {
  workspaceId: string;
  imageId: string;
  attempt: number;
  time: Date;
  text: string;
  /** The attempt is over: `functions` says so, after all that its runner said. No line. */
  end: boolean;
}

/** Where the lines of all attempts are, or those of one. */
export const imageLogSubject = (of: { workspaceId: string; imageId: string; attempt?: number }): string =>
  `berth.logs.${of.workspaceId}.image.${of.imageId}.${of.attempt ?? '*'}`;

export function encodeImageLog(line: ImageLogLine): { subject: string; headers: MsgHdrs; data: Uint8Array } {
  const headers = natsHeaders();
  headers.set('Berth-Time', line.time.toISOString());
  if (line.end) headers.set('Berth-End', 'true');
  return { subject: imageLogSubject(line), headers, data: Buffer.from(line.text) };
}

/** Undefined for a message that is none of these. */
export function decodeImageLog({ subject, headers, data }: ReceivedMessage): ImageLogLine | undefined {
  const [, , workspaceId, kind, imageId, attempt] = subject.split('.');
  const time = new Date(headers?.get('Berth-Time') ?? '');
  if (kind !== 'image' || !workspaceId || !imageId || Number.isNaN(time.getTime())) return undefined;
  return {
    workspaceId,
    imageId,
    attempt: Number(attempt),
    time,
    text: Buffer.from(data).toString('utf8'),
    end: headers?.get('Berth-End') === 'true',
  };
}
