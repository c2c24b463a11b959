import fc from 'fast-check';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { FrameDecoder, ProtocolError, encodeFrame, writeFrame, type Frame } from '../src/frame';

function decode(bytes: Buffer, cuts: number[], decoder = new FrameDecoder()): Frame[] {
  const frames: Frame[] = [];
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  for (let i = 1; i < edges.length; i++) {
    // Each chunk has memory of its own, as a socket's has.
    decoder.push(Buffer.from(bytes.subarray(edges[i - 1], edges[i])), (frame) => frames.push(frame));
  }
  return frames;
}

const frames = fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.uint8Array({ maxLength: 300 })), {
  maxLength: 8,
});

test('frames come out as they went in, however the stream is chunked', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat()), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(([header, payload]) => encodeFrame(header, payload)));
      const received = decode(bytes, cuts);
      expect(received.map(({ header, payload }) => [header, [...payload]])).toEqual(
        sent.map(([header, payload]) => [Buffer.from(header).toString(), [...payload]]),
      );
    }),
  );
});

test('any bytes at all give frames or a ProtocolError, and never more than was received', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat()), (bytes, cuts) => {
      const decoder = new FrameDecoder({ frameBytesMax: 1 << 30 });
      try {
        const total = decode(Buffer.from(bytes), cuts, decoder)
          .map((frame) => 8 + Buffer.byteLength(frame.payload))
          .reduce((sum, size) => sum + size, 0);
        expect(total + decoder.pendingBytes).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});

test('a payload received keeps its bytes while later frames arrive', () => {
  const decoder = new FrameDecoder();
  const bytes = Buffer.concat([1, 2, 3].map((n) => encodeFrame('{}', Buffer.alloc(100, n))));
  const received = decode(bytes, [3, 50, 140, 150, 260], decoder);
  expect(received.map(({ payload }) => [...new Set(payload)])).toEqual([[1], [2], [3]]);
});

test('a large frame in pieces of one byte is gathered in linear time', () => {
  const bytes = encodeFrame('{}', Buffer.alloc(2_000_000, 7));
  const decoder = new FrameDecoder();
  const received: Frame[] = [];
  for (let i = 0; i < bytes.length; i++) {
    decoder.push(bytes.subarray(i, i + 1), (frame) => received.push(frame));
  }
  expect(received).toHaveLength(1);
  expect(received[0]!.payload.equals(Buffer.alloc(2_000_000, 7))).toBe(true);
});

test.each([
  ['larger than the limit', [0, 0, 4, 1, 0, 0, 0, 2], /claims 1025 bytes; at most 1024/],
  ['no room for its own header', [0, 0, 0, 5, 0, 0, 0, 2], /cannot hold a header of 2 bytes/],
  ['no room for the header length', [0, 0, 0, 3, 0, 0, 0, 0], /cannot hold a header/],
  ['a header larger than its limit', [0, 0, 2, 0, 0, 0, 1, 1], /header claims 257 bytes; at most 256/],
])('refuses a frame with %s at its prefix', (_, prefix, message) => {
  const decoder = new FrameDecoder({ frameBytesMax: 1024, headerBytesMax: 256 });
  expect(() => decoder.push(Buffer.from(prefix), () => {})).toThrow(ProtocolError);
  expect(() =>
    decode(Buffer.from(prefix), [1, 5], new FrameDecoder({ frameBytesMax: 1024, headerBytesMax: 256 })),
  ).toThrow(message);
});

test('large payloads are written without a copy and small ones in one piece', async () => {
  for (const size of [0, 10, 65_536, 65_537, 300_000]) {
    const stream = new PassThrough();
    writeFrame(stream, '{"type":"x"}', Buffer.alloc(size, 1));
    stream.end();
    const bytes = await buffer(stream);
    expect(decode(bytes, [])).toMatchObject([{ header: '{"type":"x"}' }]);
    expect(bytes.length).toBe(8 + 12 + size);
  }
});

test('a frame too large to send is refused', () => {
  expect(() => encodeFrame('{}', Buffer.alloc(100), 64)).toThrow(
    /a frame of 106 bytes is larger than the 64/,
  );
});
