import type { Writable } from 'node:stream';

/**
 * A frame is `u32 length | u32 header length | header JSON | payload`, big-endian; `length` counts all that
 * follows itself. Both sides speak it; neither looks into the payload to find a frame's end.
 */
export interface Frame {
  /** The header as it came: JSON text, not yet parsed. */
  header: string;
  /** A view on memory that nobody else writes to; empty where there is no payload. */
  payload: Buffer;
}

/** The other side broke the protocol. The connection is of no further use: close it. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** Largest `length` that is taken, unless told otherwise: 64 MiB. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;
/** A header holds ids and at most one bounded error, never values: 1 MiB. */
export const HEADER_BYTES_MAX = 1024 * 1024;

const PREFIX_BYTES = 8;
// From here on a copy of the payload costs more than a second buffer in the same writev.
const COPY_BYTES_MAX = 64 * 1024;

/** The frame in one buffer. Throws RangeError where it is larger than `frameBytesMax`. */
export function encodeFrame(header: string, payload?: Uint8Array, frameBytesMax = FRAME_BYTES_MAX): Buffer {
  const payloadBytes = payload?.byteLength ?? 0;
  const frame = encodeHead(header, payloadBytes, payloadBytes, frameBytesMax);
  if (payload) frame.set(payload, frame.byteLength - payloadBytes);
  return frame;
}

/** Writes one frame with one system call: small payloads are copied behind the header, large ones are not copied. */
export function writeFrame(
  socket: Writable,
  header: string,
  payload?: Uint8Array,
  frameBytesMax = FRAME_BYTES_MAX,
): void {
  if (!payload || payload.byteLength <= COPY_BYTES_MAX) {
    socket.write(encodeFrame(header, payload, frameBytesMax));
    return;
  }
  const head = encodeHead(header, payload.byteLength, 0, frameBytesMax);
  socket.cork();
  socket.write(head);
  socket.write(payload);
  socket.uncork();
}

/** Prefix and header, with `roomBytes` left free behind them. */
function encodeHead(header: string, payloadBytes: number, roomBytes: number, frameBytesMax: number): Buffer {
  const headerBytes = Buffer.byteLength(header);
  const length = 4 + headerBytes + payloadBytes;
  if (length > frameBytesMax) {
    throw new RangeError(`a frame of ${length} bytes is larger than the ${frameBytesMax} bytes one may have`);
  }
  const head = Buffer.allocUnsafe(PREFIX_BYTES + headerBytes + roomBytes);
  head.writeUInt32BE(length, 0);
  head.writeUInt32BE(headerBytes, 4);
  head.write(header, PREFIX_BYTES, headerBytes, 'utf8');
  return head;
}

export interface FrameLimits {
  /** Largest `length` that is taken. */
  frameBytesMax?: number;
  headerBytesMax?: number;
}

/**
 * Cuts a byte stream into frames, however it was chunked. A frame that lies whole in one chunk is not copied; one
 * that does not is gathered in a buffer that doubles, so work stays linear in the bytes received and memory below
 * twice of them, whatever length was claimed and however small the pieces are.
 */
export class FrameDecoder {
  /** Bytes of a frame that is not complete yet; the first `#gatheredBytes` are valid. */
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;
  #frameBytesMax: number;
  #headerBytesMax: number;

  constructor({ frameBytesMax = FRAME_BYTES_MAX, headerBytesMax = HEADER_BYTES_MAX }: FrameLimits = {}) {
    this.#frameBytesMax = frameBytesMax;
    this.#headerBytesMax = headerBytesMax;
  }

  /** Other limits for all frames that follow. */
  limit({ frameBytesMax = FRAME_BYTES_MAX, headerBytesMax = HEADER_BYTES_MAX }: FrameLimits): void {
    this.#frameBytesMax = frameBytesMax;
    this.#headerBytesMax = headerBytesMax;
  }

  /**
   * Hands every frame that `chunk` completes to `take`, in order. The chunk must not be written to afterwards.
   * Throws ProtocolError as soon as a prefix is impossible, before its frame is gathered.
   */
  push(chunk: Buffer, take: (frame: Frame) => void): void {
    let at = 0;
    while (at < chunk.byteLength) {
      if (!this.#gathered) {
        const rest = chunk.byteLength - at;
        const frameBytes = rest < PREFIX_BYTES ? PREFIX_BYTES : this.#frameBytes(chunk, at);
        if (rest < PREFIX_BYTES || rest < frameBytes) {
          this.#gather(chunk, at, rest, frameBytes);
          return;
        }
        take(this.#frame(chunk, at, frameBytes));
        at += frameBytes;
        continue;
      }

      if (this.#gatheredBytes < PREFIX_BYTES) {
        const bytes = Math.min(PREFIX_BYTES - this.#gatheredBytes, chunk.byteLength - at);
        this.#gather(chunk, at, bytes, PREFIX_BYTES);
        at += bytes;
        if (this.#gatheredBytes < PREFIX_BYTES) return;
      }
      const frameBytes = this.#frameBytes(this.#gathered, 0);
      const bytes = Math.min(frameBytes - this.#gatheredBytes, chunk.byteLength - at);
      this.#gather(chunk, at, bytes, frameBytes);
      at += bytes;
      if (this.#gatheredBytes < frameBytes) return;

      const whole = this.#gathered;
      this.#gathered = undefined;
      this.#gatheredBytes = 0;
      take(this.#frame(whole, 0, frameBytes));
    }
  }

  /** Bytes held of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#gatheredBytes;
  }

  #gather(chunk: Buffer, at: number, bytes: number, frameBytes: number): void {
    const held = this.#gatheredBytes;
    if (!this.#gathered || held + bytes > this.#gathered.byteLength) {
      const roomBytes = Math.min(frameBytes, Math.max(64, 2 * (held + bytes)));
      const larger = Buffer.allocUnsafeSlow(Math.max(roomBytes, held + bytes));
      this.#gathered?.copy(larger, 0, 0, held);
      this.#gathered = larger;
    }
    chunk.copy(this.#gathered, held, at, at + bytes);
    this.#gatheredBytes = held + bytes;
  }

  /** Bytes of the whole frame whose prefix is at `at`, the length field included. */
  #frameBytes(buffer: Buffer, at: number): number {
    const length = buffer.readUInt32BE(at);
    const headerBytes = buffer.readUInt32BE(at + 4);
    if (length > this.#frameBytesMax) {
      throw new ProtocolError(`a frame claims ${length} bytes; at most ${this.#frameBytesMax} are taken`);
    }
    if (length < 4 || headerBytes > length - 4) {
      throw new ProtocolError(`a frame of ${length} bytes cannot hold a header of ${headerBytes} bytes`);
    }
    if (headerBytes > this.#headerBytesMax) {
      throw new ProtocolError(
        `a header claims ${headerBytes} bytes; at most ${this.#headerBytesMax} are taken`,
      );
    }
    return 4 + length;
  }

  #frame(buffer: Buffer, at: number, frameBytes: number): Frame {
    const headerEnd = at + PREFIX_BYTES + buffer.readUInt32BE(at + 4);
    return {
      header: buffer.toString('utf8', at + PREFIX_BYTES, headerEnd),
      payload: buffer.subarray(headerEnd, at + frameBytes),
    };
  }
}
