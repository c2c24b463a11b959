/** The kinds of single values: how each is written as text, and how on the wire. One entry serves both directions. */
import { ScalarType, type DescEnum, type DescMessage } from '@bufbuild/protobuf';
import { BinaryReader, WireType, type BinaryWriter } from '@bufbuild/protobuf/wire';
import { enumWords } from './enums';
import type { JsonKind } from './scan';
import { durationFromText, durationText, timestampFromText, timestampText, type Span } from './times';

export interface Scalar<T = unknown> {
  /** The JSON kinds that it may be given as; the first is what it is given back as. */
  accepts: readonly JsonKind[];
  /** Ends the sentence "<field> must be …". */
  expected: string;
  wire: WireType;
  /** The value of a string's content, a number's digits, or `true`/`false`; undefined when it is none. */
  parse(text: string): T | undefined;
  write(writer: BinaryWriter, value: T): void;
  /** Takes the value off the wire and gives its JSON text. */
  read(reader: BinaryReader): string;
  /** The JSON text of the default. */
  empty: string;
}

const NUMBER = ['number'] as const;
const STRING = ['string'] as const;
const WHOLE = /^-?\d{1,400}$/;
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** Reads strings and bytes without a TextDecoder, which costs more than the text. */
export const openReader = (bytes: Uint8Array): BinaryReader =>
  new BinaryReader(bytes, (part) =>
    Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('utf8'),
  );

const integer32 = (
  min: number,
  max: number,
  write: (writer: BinaryWriter, value: number) => void,
  read: (reader: BinaryReader) => number,
  wire = WireType.Varint,
): Scalar<number> => ({
  accepts: NUMBER,
  expected: `a whole number from ${min} to ${max}`,
  wire,
  parse(text) {
    const value = text === '' ? NaN : Number(text);
    return Number.isInteger(value) && value >= min && value <= max ? value || 0 : undefined;
  },
  write,
  read: (reader) => String(read(reader)),
  empty: '0',
});

/** 64 bits do not fit a JSON number in every reader: given as a number or a string, given back as a string. */
const integer64 = (
  min: bigint,
  max: bigint,
  write: (writer: BinaryWriter, value: bigint) => void,
  read: (reader: BinaryReader) => bigint | string,
  wire = WireType.Varint,
): Scalar<bigint> => ({
  accepts: ['string', 'number'],
  expected: `a whole number from ${min} to ${max}`,
  wire,
  parse(text) {
    const fromFloat = text === '' ? NaN : Number(text);
    if (!WHOLE.test(text) && !Number.isSafeInteger(fromFloat)) return undefined;
    const value = WHOLE.test(text) ? BigInt(text) : BigInt(fromFloat);
    return value >= min && value <= max ? value : undefined;
  },
  write,
  read: (reader) => `"${read(reader)}"`,
  empty: '"0"',
});

const real = (
  max: number,
  write: (writer: BinaryWriter, value: number) => void,
  read: (reader: BinaryReader) => number,
  wire: WireType,
): Scalar<number> => ({
  accepts: NUMBER,
  expected: 'a number',
  wire,
  parse(text) {
    const value = text.trim() === '' ? NaN : Number(text);
    return Math.abs(value) <= max ? value : undefined;
  },
  write,
  read(reader) {
    const value = read(reader);
    if (!Number.isFinite(value)) return `"${value}"`;
    return Object.is(value, -0) ? '-0' : String(value);
  },
  empty: '0',
});

const I32 = [-(2 ** 31), 2 ** 31 - 1] as const;
const U32 = [0, 2 ** 32 - 1] as const;
const I64 = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const U64 = [0n, 2n ** 64n - 1n] as const;

const SCALARS: Record<ScalarType, Scalar> = {
  [ScalarType.INT32]: integer32(
    ...I32,
    (w, v) => w.int32(v),
    (r) => r.int32(),
  ),
  [ScalarType.SINT32]: integer32(
    ...I32,
    (w, v) => w.sint32(v),
    (r) => r.sint32(),
  ),
  [ScalarType.SFIXED32]: integer32(
    ...I32,
    (w, v) => w.sfixed32(v),
    (r) => r.sfixed32(),
    WireType.Bit32,
  ),
  [ScalarType.UINT32]: integer32(
    ...U32,
    (w, v) => w.uint32(v),
    (r) => r.uint32(),
  ),
  [ScalarType.FIXED32]: integer32(
    ...U32,
    (w, v) => w.fixed32(v),
    (r) => r.fixed32(),
    WireType.Bit32,
  ),
  [ScalarType.INT64]: integer64(
    ...I64,
    (w, v) => w.int64(v),
    (r) => r.int64(),
  ),
  [ScalarType.SINT64]: integer64(
    ...I64,
    (w, v) => w.sint64(v),
    (r) => r.sint64(),
  ),
  [ScalarType.SFIXED64]: integer64(
    ...I64,
    (w, v) => w.sfixed64(v),
    (r) => r.sfixed64(),
    WireType.Bit64,
  ),
  [ScalarType.UINT64]: integer64(
    ...U64,
    (w, v) => w.uint64(v),
    (r) => r.uint64(),
  ),
  [ScalarType.FIXED64]: integer64(
    ...U64,
    (w, v) => w.fixed64(v),
    (r) => r.fixed64(),
    WireType.Bit64,
  ),
  [ScalarType.DOUBLE]: real(
    Number.MAX_VALUE,
    (w, v) => w.double(v),
    (r) => r.double(),
    WireType.Bit64,
  ),
  [ScalarType.FLOAT]: real(
    3.4028234663852886e38,
    (w, v) => w.float(v),
    (r) => r.float(),
    WireType.Bit32,
  ),
  [ScalarType.BOOL]: {
    accepts: ['boolean'],
    expected: 'true or false',
    wire: WireType.Varint,
    parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
    write: (writer, value) => writer.bool(value),
    read: (reader) => String(reader.bool()),
    empty: 'false',
  } satisfies Scalar<boolean>,
  [ScalarType.STRING]: {
    accepts: STRING,
    expected: 'text of whole Unicode characters, none of them NUL',
    wire: WireType.LengthDelimited,
    parse: (text) => (text.isWellFormed() && !text.includes('\0') ? text : undefined),
    write: (writer, value) => writer.string(value),
    read: (reader) => JSON.stringify(reader.string()),
    empty: '""',
  } satisfies Scalar<string>,
  [ScalarType.BYTES]: {
    accepts: STRING,
    expected: 'bytes in base64',
    wire: WireType.LengthDelimited,
    parse(text) {
      if (!BASE64.test(text) || text.replace(/=+$/, '').length % 4 === 1) return undefined;
      return Buffer.from(text, 'base64');
    },
    write: (writer, value) => writer.bytes(value),
    read: (reader) => `"${Buffer.from(reader.bytes()).toString('base64')}"`,
    empty: '""',
  } satisfies Scalar<Uint8Array>,
};

export const scalarOf = (type: ScalarType): Scalar => SCALARS[type];

const enums = new Map<string, Scalar>();

export function enumScalar(descriptor: DescEnum): Scalar {
  const earlier = enums.get(descriptor.typeName);
  if (earlier) return earlier;
  const { wordOf, numberOf, choices } = enumWords(descriptor);
  const scalar: Scalar<number> = {
    accepts: STRING,
    expected: `one of ${choices.join(', ')}`,
    wire: WireType.Varint,
    parse: (text) => numberOf.get(text.toLowerCase()),
    write: (writer, value) => writer.int32(value),
    // A number without a word came from a newer peer: better shown than hidden.
    read(reader) {
      const number = reader.int32();
      const word = wordOf.get(number);
      return word === undefined ? String(number) : `"${word}"`;
    },
    empty: `"${wordOf.get(0) ?? ''}"`,
  };
  enums.set(descriptor.typeName, scalar as Scalar);
  return scalar as Scalar;
}

/** A message of seconds and nanos that JSON writes as text. */
const spanScalar = (
  expected: string,
  parse: (text: string) => Span | undefined,
  text: (span: Span) => string,
): Scalar<Span> => ({
  accepts: STRING,
  expected,
  wire: WireType.LengthDelimited,
  parse,
  write(writer, { seconds, nanos }) {
    writer.fork();
    if (seconds !== 0n) writer.tag(1, WireType.Varint).int64(seconds);
    if (nanos !== 0) writer.tag(2, WireType.Varint).int32(nanos);
    writer.join();
  },
  read: (reader) => `"${text(readSpan(reader.bytes()))}"`,
  empty: 'null',
});

function readSpan(bytes: Uint8Array): Span {
  const reader = openReader(bytes);
  const span: Span = { seconds: 0n, nanos: 0 };
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    if (number === 1 && wire === WireType.Varint) span.seconds = BigInt(reader.int64());
    else if (number === 2 && wire === WireType.Varint) span.nanos = reader.int32();
    else reader.skip(wire, number);
  }
  return span;
}

const WELL_KNOWN: Record<string, Scalar> = {
  'google.protobuf.Timestamp': spanScalar(
    'a time like 2026-01-31T09:30:00Z',
    timestampFromText,
    timestampText,
  ) as Scalar,
  'google.protobuf.Duration': spanScalar('a duration like 1.5s', durationFromText, durationText) as Scalar,
};

/** The messages that JSON writes as one value; undefined for one that it writes as an object. */
export const wellKnownScalar = (descriptor: DescMessage): Scalar | undefined =>
  WELL_KNOWN[descriptor.typeName];
