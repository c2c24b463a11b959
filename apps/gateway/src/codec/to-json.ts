/**
 * Protobuf bytes to JSON text, by descriptors. Each message type is compiled once; an answer then costs one pass over
 * its bytes. Every field of the contract is there, in its order: what is not set shows its default, or null where the
 * contract can tell that nothing was set. JSON documents inside are spliced in, unread.
 */
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { WireType, type BinaryReader } from '@bufbuild/protobuf/wire';
import { fieldIs } from '@berth/contracts';
import { singleScalar } from './from-json';
import { openReader, scalarOf } from './scalars';

export interface MessageText {
  /** The JSON text of a message. */
  of(bytes: Uint8Array): string;
}

const texts = new Map<string, MessageText>();

export function messageText(descriptor: DescMessage): MessageText {
  const earlier = texts.get(descriptor.typeName);
  if (earlier) return earlier;
  const text = {} as MessageText;
  texts.set(descriptor.typeName, text); // First, since a message may hold itself.
  text.of = compile(descriptor);
  return text;
}

/** What was seen of one field so far: JSON text, elements, entries, or the bytes of a message. */
type Slot = string | string[] | Map<string, string> | Uint8Array | undefined;

interface FieldPlan {
  index: number;
  /** `"name":` */
  prefix: string;
  /** The fields of the same oneof: this one unsets them. */
  rivals: number[];
  take(reader: BinaryReader, wire: WireType, slot: Slot): Slot;
  text(slot: Slot): string;
}

function compile(descriptor: DescMessage): MessageText['of'] {
  const plans = descriptor.fields.map((field, index): FieldPlan => {
    const rivals = field.oneof ? field.oneof.fields.filter((other) => other !== field) : [];
    return {
      index,
      prefix: `${index > 0 ? ',' : ''}${JSON.stringify(field.name)}:`,
      rivals: rivals.map((rival) => descriptor.fields.indexOf(rival)),
      ...planOf(field),
    };
  });
  const byNumber: (FieldPlan | undefined)[] = [];
  descriptor.fields.forEach((field, index) => (byNumber[field.number] = plans[index]));

  return (bytes) => {
    const slots = new Array<Slot>(plans.length).fill(undefined);
    const reader = openReader(bytes);
    while (reader.pos < reader.len) {
      const [number, wire] = reader.tag();
      const plan = byNumber[number];
      if (!plan) {
        reader.skip(wire, number);
        continue;
      }
      slots[plan.index] = plan.take(reader, wire, slots[plan.index]);
      for (const rival of plan.rivals) slots[rival] = undefined;
    }
    let text = '{';
    for (const plan of plans) text += plan.prefix + plan.text(slots[plan.index]);
    return `${text}}`;
  };
}

type Plan = Pick<FieldPlan, 'take' | 'text'>;

function planOf(field: DescField): Plan {
  if (fieldIs(field, 'json')) return jsonPlan;
  if (field.fieldKind === 'map') return mapPlan(field);
  if (field.fieldKind === 'list') return listPlan(field);
  const scalar = singleScalar(field);
  if (!scalar) return messagePlan(field.message!);
  const canBeUnset = field.oneof !== undefined || field.fieldKind === 'message' || field.proto.proto3Optional;
  const unset = canBeUnset ? 'null' : scalar.empty;
  return { take: (reader) => scalar.read(reader), text: (slot) => (slot as string | undefined) ?? unset };
}

const jsonPlan: Plan = {
  take: (reader) => asText(reader.bytes()),
  // No bytes at all are no document.
  text: (slot) => (slot as string | undefined) || 'null',
};

/** A field that comes twice is one message, its bytes in a row: so says protobuf of merging. */
function messagePlan(descriptor: DescMessage): Plan {
  const message = messageText(descriptor);
  return {
    take: (reader, _wire, slot) =>
      slot ? Buffer.concat([slot as Uint8Array, reader.bytes()]) : reader.bytes(),
    text: (slot) => (slot ? message.of(slot as Uint8Array) : 'null'),
  };
}

type Typed = Parameters<typeof singleScalar>[0];

/** How one element or map value is taken off the wire. */
function elementOf(type: Typed): { wire: WireType; read(reader: BinaryReader): string; empty: string } {
  const scalar = singleScalar(type);
  if (scalar) return scalar;
  const message = messageText(type.message!);
  return {
    wire: WireType.LengthDelimited,
    read: (reader) => message.of(reader.bytes()),
    get empty() {
      return message.of(new Uint8Array());
    },
  };
}

function listPlan(field: DescField & { fieldKind: 'list' }): Plan {
  const element = elementOf(field);
  const oneOrMany = fieldIs(field, 'one_or_many');
  return {
    take(reader, wire, slot) {
      const elements = (slot as string[] | undefined) ?? [];
      if (wire === WireType.LengthDelimited && element.wire !== WireType.LengthDelimited) {
        const end = reader.uint32() + reader.pos; // Packed.
        while (reader.pos < end) elements.push(element.read(reader));
      } else {
        elements.push(element.read(reader));
      }
      return elements;
    },
    text(slot) {
      const elements = slot as string[] | undefined;
      if (oneOrMany && (elements?.length ?? 0) < 2) return elements?.[0] ?? 'null';
      return elements ? `[${elements.join(',')}]` : '[]';
    },
  };
}

function mapPlan(field: DescField & { fieldKind: 'map' }): Plan {
  const key = scalarOf(field.mapKey);
  const value = elementOf(field);
  const quoted = (text: string) => (text.startsWith('"') ? text : `"${text}"`);
  return {
    take(reader, _wire, slot) {
      const entries = (slot as Map<string, string> | undefined) ?? new Map<string, string>();
      const entry = openReader(reader.bytes());
      let keyText: string | undefined;
      let valueText: string | undefined;
      while (entry.pos < entry.len) {
        const [number, wire] = entry.tag();
        if (number === 1) keyText = key.read(entry);
        else if (number === 2) valueText = value.read(entry);
        else entry.skip(wire, number);
      }
      return entries.set(quoted(keyText ?? key.empty), valueText ?? value.empty);
    },
    text(slot) {
      if (!slot) return '{}';
      let text = '';
      for (const [keyText, valueText] of slot as Map<string, string>) {
        text += `${text ? ',' : ''}${keyText}:${valueText}`;
      }
      return `{${text}}`;
    },
  };
}

const asText = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');

/** The bytes of one field of a message, as they last came; undefined when it did not. For a message: all of it. */
export function fieldBytes(bytes: Uint8Array, number: number): Uint8Array | undefined {
  const reader = openReader(bytes);
  let found: Uint8Array | undefined;
  while (reader.pos < reader.len) {
    const [each, wire] = reader.tag();
    if (each !== number || wire !== WireType.LengthDelimited) reader.skip(wire, each);
    else found = found ? Buffer.concat([found, reader.bytes()]) : reader.bytes();
  }
  return found;
}
