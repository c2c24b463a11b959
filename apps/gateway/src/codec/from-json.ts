/**
 * JSON to protobuf bytes, by descriptors. Each message type is compiled once into closures; a request then costs one
 * pass over its text. Every error names the field at fault, before any effect.
 */
import type { DescField, DescMessage, DescOneof } from '@bufbuild/protobuf';
import { WireType, type BinaryWriter } from '@bufbuild/protobuf/wire';
import { fieldIs } from '@berth/contracts';
import { BerthError } from '@berth/service-kit';
import { nearest } from './nearest';
import { enumScalar, scalarOf, wellKnownScalar, type Scalar } from './scalars';
import type { JsonKind, Scanner } from './scan';

/** Reads the value at the scanner and writes it with its tag. `at` is its name from the body's root. */
type ReadValue = (scan: Scanner, writer: BinaryWriter, at: string) => void;

export interface MessageReader {
  /**
   * Reads an object and writes its fields. `at` is empty at the body's root. `elsewhere` names fields that this
   * request gives in its path: they may not come twice.
   */
  read(scan: Scanner, writer: BinaryWriter, at: string, elsewhere?: ReadonlySet<string>): void;
}

const readers = new Map<string, MessageReader>();

export function messageReader(descriptor: DescMessage): MessageReader {
  const earlier = readers.get(descriptor.typeName);
  if (earlier) return earlier;
  const reader = {} as MessageReader;
  readers.set(descriptor.typeName, reader); // First, since a message may hold itself.
  reader.read = compile(descriptor);
  return reader;
}

interface FieldPlan {
  index: number;
  oneof: DescOneof | undefined;
  read: ReadValue;
}

function compile(descriptor: DescMessage): MessageReader['read'] {
  const plans = new Map<string, FieldPlan>(
    descriptor.fields.map((field, index) => [
      field.name,
      { index, oneof: field.oneof, read: readField(field) },
    ]),
  );
  return (scan, writer, at, elsewhere) => {
    expectKind(scan, ['object'], 'an object', at);
    const seen = new Uint8Array(plans.size);
    const chosen = new Map<DescOneof, string>();
    scan.object((key) => {
      const plan = plans.get(key);
      const name = member(at, key);
      if (!plan)
        throw unknownField(
          name,
          key,
          [...plans.keys()].filter((each) => !elsewhere?.has(each)),
          at,
        );
      if (seen[plan.index]) throw new BerthError('invalid', `${name} is given twice.`, { field: name });
      seen[plan.index] = 1;
      if (elsewhere?.has(key)) {
        throw new BerthError('invalid', `${name} comes from the path: leave it out of the body.`, {
          field: name,
        });
      }
      if (scan.kind() === 'null') return scan.null();
      if (plan.oneof) {
        const other = chosen.get(plan.oneof);
        if (other !== undefined) {
          throw new BerthError('invalid', `${name} excludes ${other}: give one of them.`, { field: name });
        }
        chosen.set(plan.oneof, name);
      }
      plan.read(scan, writer, name);
    });
  };
}

function readField(field: DescField): ReadValue {
  const { number } = field;
  if (fieldIs(field, 'json')) return readJson(number);
  if (field.fieldKind === 'map') return readMap(field);
  if (field.fieldKind === 'list') {
    const one = readSingle(field.number, field);
    const all = readList(one);
    if (!fieldIs(field, 'one_or_many')) return all;
    return (scan, writer, at) => (scan.kind() === 'list' ? all : one)(scan, writer, at);
  }
  return readSingle(number, field);
}

interface Typed {
  scalar?: Parameters<typeof scalarOf>[0] | undefined;
  enum?: Parameters<typeof enumScalar>[0] | undefined;
  message?: DescMessage | undefined;
}

/** What a field, an element or a map's value is when it is written as one JSON value; undefined for an object. */
export function singleScalar(type: Typed): Scalar | undefined {
  if (type.message) return wellKnownScalar(type.message);
  return type.enum ? enumScalar(type.enum) : scalarOf(type.scalar!);
}

function readSingle(number: number, type: Typed): ReadValue {
  const scalar = singleScalar(type);
  if (scalar) {
    return (scan, writer, at) => {
      const value = parseScalar(scalar, takeText(scan, scalar, at), at);
      writer.tag(number, scalar.wire);
      scalar.write(writer, value);
    };
  }
  const message = messageReader(type.message!);
  return (scan, writer, at) => {
    writer.tag(number, WireType.LengthDelimited).fork();
    message.read(scan, writer, at);
    writer.join();
  };
}

const readList =
  (one: ReadValue): ReadValue =>
  (scan, writer, at) => {
    expectKind(scan, ['list'], 'a list', at);
    scan.list((index) => one(scan, writer, `${at}[${index}]`));
  };

function readMap(field: DescField & { fieldKind: 'map' }): ReadValue {
  const keyScalar = scalarOf(field.mapKey);
  const readEntry = readSingle(2, field);
  return (scan, writer, at) => {
    expectKind(scan, ['object'], 'an object', at);
    const seen = new Set<string>();
    scan.object((key) => {
      const name = member(at, key);
      if (seen.has(key)) throw new BerthError('invalid', `${name} is given twice.`, { field: name });
      seen.add(key);
      writer.tag(field.number, WireType.LengthDelimited).fork();
      writer.tag(1, keyScalar.wire);
      keyScalar.write(writer, parseScalar(keyScalar, key, `the key ${name}`));
      readEntry(scan, writer, name);
      writer.join();
    });
  };
}

/** The document's own text, so that no digit of it is lost. */
const readJson =
  (number: number): ReadValue =>
  (scan, writer) => {
    writer.tag(number, WireType.LengthDelimited).bytes(Buffer.from(scan.raw()));
  };

function takeText(scan: Scanner, scalar: Scalar, at: string): string {
  const kind = expectKind(scan, scalar.accepts, scalar.expected, at);
  if (kind === 'string') return scan.string();
  return kind === 'number' ? scan.number() : String(scan.boolean());
}

/** Errors: `invalid`, naming `at` and what it must be. */
export function parseScalar(scalar: Scalar, text: string, at: string): unknown {
  const value = scalar.parse(text);
  if (value !== undefined) return value;
  throw new BerthError('invalid', `${at} must be ${scalar.expected}.`, { field: at });
}

const WITH_ARTICLE: Record<JsonKind, string> = {
  object: 'an object',
  list: 'a list',
  string: 'a string',
  number: 'a number',
  boolean: 'a boolean',
  null: 'null',
};

function expectKind(scan: Scanner, accepts: readonly JsonKind[], expected: string, at: string): JsonKind {
  const kind = scan.kind();
  if (accepts.includes(kind)) return kind;
  const message = `${at || 'The body'} must be ${expected}, not ${WITH_ARTICLE[kind]}.`;
  throw new BerthError('invalid', message, at ? { field: at } : {});
}

export function unknownField(name: string, key: string, known: Iterable<string>, where: string): BerthError {
  const names = [...known];
  const meant = nearest(key, names);
  const advice = meant
    ? `did you mean ${meant}?`
    : names.length === 0
      ? 'this takes no fields.'
      : `${where || 'this'} takes ${names.join(', ')}.`;
  return new BerthError('invalid', `There is no field ${name}: ${advice}`, { field: name });
}

const PLAIN_KEY = /^[\w-]{1,64}$/;

/** `env.PATH`, `files["main.py"]`. Kept short: a key is the caller's and may be anything. */
function member(at: string, key: string): string {
  const name = PLAIN_KEY.test(key) ? key : JSON.stringify(key.length > 80 ? `${key.slice(0, 80)}…` : key);
  if (at === '') return name;
  return name === key ? `${at}.${key}` : `${at}[${name}]`;
}
