import type { Readable } from 'node:stream';

export interface Frame {
  stream: 'stdout' | 'stderr';
  data: Buffer;
}

const HEADER_BYTES = 8;

/**
 * Takes Docker's multiplexed stream apart: `u8 stream | 3 zero bytes | u32 big-endian length | payload`.
 * For a log with time stamps each frame is one entry, which is what makes these separable.
 */
export async function* readFrames(source: Readable): AsyncGenerator<Frame> {
  let parts: Buffer[] = [];
  let held = 0;
  let wanted = HEADER_BYTES;
  let stream: Frame['stream'] | undefined;

  for await (const chunk of source as AsyncIterable<Buffer>) {
    parts.push(chunk);
    held += chunk.length;
    if (held < wanted) continue;

    let buffer = parts.length === 1 ? chunk : Buffer.concat(parts);
    while (buffer.length >= wanted) {
      const piece = buffer.subarray(0, wanted);
      buffer = buffer.subarray(wanted);
      if (stream === undefined) {
        stream = piece[0] === 2 ? 'stderr' : 'stdout';
        wanted = piece.readUInt32BE(4);
      } else {
        yield { stream, data: piece };
        stream = undefined;
        wanted = HEADER_BYTES;
      }
    }
    parts = buffer.length ? [buffer] : [];
    held = buffer.length;
  }
}

/** Splits `2026-01-02T03:04:05.678901234Z text` as Docker writes it with `timestamps`. */
export function splitTimestamp(data: Buffer): { time: Date; data: Buffer } {
  const space = data.indexOf(0x20);
  const time = new Date(data.subarray(0, Math.max(space, 0)).toString('latin1'));
  if (space < 0 || Number.isNaN(time.getTime())) return { time: new Date(), data };
  return { time, data: data.subarray(space + 1) };
}
