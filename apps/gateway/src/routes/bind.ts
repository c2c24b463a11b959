/** A REST request to the protobuf bytes of its method's request message. Compiled per method when the doors open. */
import { isUtf8 } from 'node:buffer';
import type { DescField } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { fieldIs } from '@berth/contracts';
import { BerthError } from '@berth/service-kit';
import { messageReader, parseScalar, singleScalar, unknownField } from '../codec/from-json';
import { Scanner } from '../codec/scan';
import { HttpProblem } from '../problem';
import type { PublicMethod } from '../public-methods';

export interface RestRequest {
  /** From the path, percent-decoded once. */
  params: Record<string, string>;
  /** What follows `?`, as it came. */
  query: string;
  body: Buffer | undefined;
  contentType: string | undefined;
}

/** Errors: `invalid` with the field at fault. */
export type Bind = (request: RestRequest) => Uint8Array;

type WriteText = (writer: BinaryWriter, text: string, name: string) => void;
type WriteBody = (writer: BinaryWriter, body: Buffer, contentType: string | undefined) => void;

export function compileBind(method: PublicMethod): Bind {
  const { route, descriptor } = method;
  const { fields } = descriptor.input;
  const fieldNamed = (name: string): DescField => {
    const field = fields.find((each) => each.name === name);
    if (!field)
      throw new Error(
        `${method.grpcPath}: its route names ${name}, which ${descriptor.input.typeName} lacks`,
      );
    return field;
  };

  const inPath = pathFields(route.path).map(fieldNamed);
  const pathWriters = inPath.map((field) => [field.name, writeText(field)] as const);
  const pathNames = new Set(inPath.map((field) => field.name));

  const bodyField = route.body && route.body !== '*' ? fieldNamed(route.body) : undefined;
  const writeBody =
    route.body === '*' ? wholeBody(method, pathNames) : bodyField ? fieldBody(bodyField) : noBody(method);

  const inQuery =
    route.body === '*' ? [] : fields.filter((field) => !pathNames.has(field.name) && field !== bodyField);
  const queryFields = new Map(
    inQuery.map((field) => [field.name, { repeats: field.fieldKind === 'list', write: writeText(field) }]),
  );

  const writeQuery = (writer: BinaryWriter, query: string) => {
    const seen = new Set<string>();
    for (const [name, text] of new URLSearchParams(query)) {
      const field = queryFields.get(name);
      if (!field) throw unknownField(name, name, queryFields.keys(), 'the query');
      if (seen.has(name) && !field.repeats) {
        throw new BerthError('invalid', `${name} is given twice.`, { field: name });
      }
      seen.add(name);
      field.write(writer, text, name);
    }
  };

  return ({ params, query, body, contentType }) => {
    const writer = new BinaryWriter();
    for (const [name, write] of pathWriters) write(writer, params[name] ?? '', name);
    if (query) writeQuery(writer, query);
    if (body && body.length > 0) writeBody(writer, body, contentType);
    return writer.finish();
  };
}

/** The names in the braces of a route. */
export const pathFields = (path: string): string[] =>
  [...path.matchAll(/\{([a-z0-9_]+)\}/g)].map((match) => match[1]!);

/** A field out of a path or a query: one value of text. */
function writeText(field: DescField): WriteText {
  const scalar = field.fieldKind === 'map' ? undefined : singleScalar(field);
  if (!scalar || fieldIs(field, 'json')) {
    return (_writer, _text, name) => {
      throw new BerthError('invalid', `${name} cannot be given in the path or the query.`, { field: name });
    };
  }
  return (writer, text, name) => {
    const value = parseScalar(scalar, text, name);
    writer.tag(field.number, scalar.wire);
    scalar.write(writer, value);
  };
}

function wholeBody(method: PublicMethod, inPath: ReadonlySet<string>): WriteBody {
  const reader = messageReader(method.descriptor.input);
  return (writer, body, contentType) => {
    const scan = openJson(body, contentType);
    reader.read(scan, writer, '', inPath);
    scan.end();
  };
}

function fieldBody(field: DescField): WriteBody {
  if (fieldIs(field, 'raw')) {
    return (writer, body, contentType) => {
      if (contentType && !/^application\/octet-stream\b/i.test(contentType)) {
        throw new HttpProblem('invalid', 'Send the bytes as content-type application/octet-stream.', 415);
      }
      writer.tag(field.number, WireType.LengthDelimited).bytes(body);
    };
  }
  if (field.fieldKind !== 'message') throw new Error(`${field}: a body is a message, raw bytes, or "*"`);
  const reader = messageReader(field.message);
  return (writer, body, contentType) => {
    const scan = openJson(body, contentType);
    writer.tag(field.number, WireType.LengthDelimited).fork();
    reader.read(scan, writer, '');
    writer.join();
    scan.end();
  };
}

function noBody(method: PublicMethod): WriteBody {
  return (_writer, body) => {
    // `{}` says nothing, and many clients send it.
    if (body.toString('latin1').trim() === '{}') return;
    throw new BerthError('invalid', `${method.route.verb} ${method.route.path} takes no body: send none.`);
  };
}

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

function openJson(body: Buffer, contentType: string | undefined): Scanner {
  if (contentType && !JSON_TYPE.test(contentType)) {
    throw new HttpProblem('invalid', 'Send JSON, with the header content-type: application/json.', 415);
  }
  if (!isUtf8(body)) throw new BerthError('invalid', 'The body is not valid UTF-8.');
  return new Scanner(body.toString('utf8'));
}
