/** The OpenAPI 3.1 document of the REST door, from the same descriptors as its routes. */
import { ScalarType, type DescEnum, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { fieldIs } from '@berth/contracts';
import { ERROR_KINDS, type ErrorKind } from '@berth/service-kit';
import { enumWords } from '../codec/enums';
import type { PublicMethod } from '../public-methods';
import { pathFields } from '../routes/bind';
import { commentOf } from './comments';

type Json = Record<string, unknown>;

/** Whether a schema describes what is sent or what comes back: only what comes back has every field. */
type Direction = 'request' | 'response';

export function openApiDocument(methods: readonly PublicMethod[], version: string): Json {
  const schemas = new Schemas();
  const paths: Record<string, Json> = {};
  for (const method of methods) {
    const { verb, path } = method.route;
    (paths[path] ??= {})[verb.toLowerCase()] = operationOf(method, schemas);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Berth',
      version,
      description: 'A self-hosted GPU compute platform. Errors have one shape; see the schema Error.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { apiKey: [] }],
    tags: [...new Set(methods.map(({ peer }) => peer))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { ...schemas.all(), Error: ERROR_SCHEMA },
      responses: errorResponses(),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: '`<token_id>.<token_secret>`' },
        apiKey: {
          type: 'apiKey',
          in: 'header',
          name: 'x-api-key',
          description: 'An admin key (`bk_live_…`), or `<token_id>.<token_secret>`.',
        },
      },
    },
  };
}

const lowerCamel = (name: string): string => `${name[0]!.toLowerCase()}${name.slice(1)}`;

/** What any method may answer, beside its success. */
const COMMON_ERRORS: readonly ErrorKind[] = [
  'invalid',
  'unauthenticated',
  'denied',
  'not_found',
  'internal',
  'unavailable',
];

const ERROR_NAMES: Partial<Record<ErrorKind, string>> = {
  invalid: 'Invalid',
  unauthenticated: 'Unauthenticated',
  denied: 'Denied',
  not_found: 'NotFound',
  conflict: 'Conflict',
  too_large: 'TooLarge',
  exhausted: 'Exhausted',
  internal: 'Internal',
  unavailable: 'Unavailable',
};

const ERROR_WORDS: Partial<Record<ErrorKind, string>> = {
  invalid: 'The request is at fault; `field` says where.',
  unauthenticated: 'No credential, or one that opens nothing.',
  denied: 'The credential may not do this.',
  not_found: 'No such thing in this workspace.',
  conflict: 'The name is taken, or the state does not allow it.',
  too_large: 'The body is too large.',
  exhausted: 'A limit is reached.',
  internal: 'A bug of Berth; the logs have it under `request_id`.',
  unavailable: 'A service restarts: try again.',
};

const errorRef = (kind: ErrorKind) => ({ $ref: `#/components/responses/${ERROR_NAMES[kind]}` });

function errorResponses(): Json {
  return Object.fromEntries(
    (Object.entries(ERROR_NAMES) as [ErrorKind, string][]).map(([kind, name]) => [
      name,
      {
        description: ERROR_WORDS[kind],
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    ]),
  );
}

const ERROR_SCHEMA = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message', 'field', 'request_id'],
      properties: {
        code: { type: 'string', enum: Object.values(ERROR_KINDS).map(({ code }) => code) },
        message: { type: 'string', description: 'Says what to do next.' },
        field: { type: ['string', 'null'], description: 'The input at fault.' },
        request_id: { type: 'string' },
      },
    },
  },
};

function operationOf(method: PublicMethod, schemas: Schemas): Json {
  const { descriptor, route } = method;
  const comment = commentOf(descriptor);
  const inPath = new Set(pathFields(route.path));
  const { fields } = descriptor.input;
  const bodyField = fields.find((field) => field.name === route.body);
  const inQuery =
    route.body === '*' ? [] : fields.filter((field) => !inPath.has(field.name) && field !== bodyField);
  const errors: ErrorKind[] = [
    ...COMMON_ERRORS,
    ...(route.verb === 'GET' ? [] : (['conflict', 'too_large', 'exhausted'] as const)),
  ];

  return {
    operationId: lowerCamel(descriptor.name),
    tags: [method.peer],
    summary: /^.*?[.](?=\s|$)/s.exec(comment)?.[0].replace(/\s+/g, ' ') ?? descriptor.name,
    ...(comment ? { description: comment } : {}),
    ...(method.anonymous ? { security: [] } : {}),
    parameters: [
      ...[...inPath].map((name) => ({
        ...parameterOf(
          fields.find((field) => field.name === name)!,
          schemas,
        ),
        in: 'path',
        required: true,
      })),
      ...inQuery.map((field) => ({
        ...parameterOf(field, schemas),
        in: 'query',
        required: fieldIs(field, 'required'),
      })),
      ...(route.verb === 'POST' ? [IDEMPOTENCY_KEY] : []),
    ],
    ...(route.body ? { requestBody: requestBodyOf(method, bodyField, inPath, schemas) } : {}),
    responses: {
      [method.httpStatus]: successOf(method, schemas),
      ...Object.fromEntries(errors.map((kind) => [ERROR_KINDS[kind].http, errorRef(kind)])),
      default: {
        description: 'Any other failure.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description: 'A request that is repeated with the same key is the same request.',
  schema: { type: 'string', maxLength: 255 },
};

function parameterOf(field: DescField, schemas: Schemas): Json {
  const description = commentOf(field);
  return {
    name: field.name,
    ...(description ? { description } : {}),
    schema: schemas.bare(field, 'request'),
  };
}

function requestBodyOf(
  method: PublicMethod,
  field: DescField | undefined,
  inPath: ReadonlySet<string>,
  schemas: Schemas,
): Json {
  if (field && fieldIs(field, 'raw')) {
    return { required: true, content: { 'application/octet-stream': { schema: {} } } };
  }
  const message = field?.message ?? method.descriptor.input;
  const rest = message.fields.filter((each) => field || !inPath.has(each.name));
  return {
    required: rest.some((each) => fieldIs(each, 'required')),
    content: {
      'application/json': {
        schema: field ? schemas.refTo(message, 'request') : schemas.objectOf(message, rest, 'request'),
      },
    },
  };
}

function successOf(method: PublicMethod, schemas: Schemas): Json {
  if (method.httpStatus === 204) return { description: 'Done.' };
  const { output } = method.descriptor;
  const field = output.fields.find((each) => each.name === method.route.responseBody);
  if (field && fieldIs(field, 'raw')) {
    return { description: 'The bytes.', content: { 'application/octet-stream': { schema: {} } } };
  }
  const schema = schemas.refTo(field?.message ?? output, 'response');
  return method.streams
    ? {
        description: 'One JSON document per line, as they come.',
        content: { 'application/x-ndjson': { schema } },
      }
    : { description: 'Success.', content: { 'application/json': { schema } } };
}

/** The component schemas, made as they are referred to. */
class Schemas {
  private readonly made = new Map<string, Json>();

  all(): Json {
    return Object.fromEntries([...this.made].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  refTo(descriptor: DescMessage | DescEnum, direction: Direction): Json {
    const name =
      direction === 'request' && descriptor.kind === 'message' && !descriptor.name.endsWith('Request')
        ? `${descriptor.name}Input`
        : descriptor.name;
    if (!this.made.has(name)) {
      this.made.set(name, {}); // First, since a message may hold itself.
      this.made.set(
        name,
        descriptor.kind === 'enum'
          ? enumSchema(descriptor)
          : this.objectOf(descriptor, descriptor.fields, direction),
      );
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  objectOf(descriptor: DescMessage, fields: readonly DescField[], direction: Direction): Json {
    const description = commentOf(descriptor);
    const required = fields.filter((field) => direction === 'response' || fieldIs(field, 'required'));
    return {
      type: 'object',
      ...(description ? { description } : {}),
      ...(required.length > 0 ? { required: required.map((field) => field.name) } : {}),
      properties: Object.fromEntries(fields.map((field) => [field.name, this.property(field, direction)])),
      ...(direction === 'request' ? { additionalProperties: false } : {}),
    };
  }

  /** A field as a property: with its comment, and with null where it may be unset. */
  private property(field: DescField, direction: Direction): Json {
    const description = commentOf(field);
    const schema = this.bare(field, direction);
    const secret = fieldIs(field, 'secret') ? { 'x-secret': true } : {};
    return {
      ...(isNullable(field) ? orNull(schema) : schema),
      ...(description ? { description } : {}),
      ...secret,
    };
  }

  bare(field: DescField, direction: Direction): Json {
    if (fieldIs(field, 'json')) return {};
    if (field.fieldKind === 'list') {
      const items = this.single(field, direction);
      const list = { type: 'array', items };
      return fieldIs(field, 'one_or_many') ? { oneOf: [items, list] } : list;
    }
    if (field.fieldKind === 'map') {
      return { type: 'object', additionalProperties: this.single(field, direction) };
    }
    return this.single(field, direction);
  }

  private single(
    type: { message?: DescMessage; enum?: DescEnum; scalar?: ScalarType },
    direction: Direction,
  ): Json {
    if (type.enum) return this.refTo(type.enum, direction);
    if (!type.message) return SCALAR_SCHEMAS[type.scalar!];
    if (type.message.typeName === 'google.protobuf.Timestamp') return { type: 'string', format: 'date-time' };
    if (type.message.typeName === 'google.protobuf.Duration')
      return { type: 'string', pattern: '^-?\\d+(\\.\\d+)?s$' };
    return this.refTo(type.message, direction);
  }
}

const isNullable = (field: DescField): boolean =>
  fieldIs(field, 'one_or_many') ||
  field.proto.proto3Optional ||
  field.fieldKind === 'message' ||
  field.oneof !== undefined;

function orNull(schema: Json): Json {
  if (Object.keys(schema).length === 0) return schema; // Any document: null as well.
  if (typeof schema.type === 'string') return { ...schema, type: [schema.type, 'null'] };
  if (Array.isArray(schema.oneOf)) return { oneOf: [...schema.oneOf, { type: 'null' }] };
  return { oneOf: [schema, { type: 'null' }] };
}

function enumSchema(descriptor: DescEnum): Json {
  const description = commentOf(descriptor);
  const { wordOf } = enumWords(descriptor);
  return { type: 'string', ...(description ? { description } : {}), enum: [...wordOf.values()] };
}

const int32 = { type: 'integer', format: 'int32' };
const uint32 = { type: 'integer', minimum: 0, maximum: 4294967295 };
const int64 = { type: 'string', pattern: '^-?\\d+$', format: 'int64' };
const uint64 = { type: 'string', pattern: '^\\d+$', format: 'uint64' };

const SCALAR_SCHEMAS: Record<ScalarType, Json> = {
  [ScalarType.DOUBLE]: { type: 'number', format: 'double' },
  [ScalarType.FLOAT]: { type: 'number', format: 'float' },
  [ScalarType.INT64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.INT32]: int32,
  [ScalarType.FIXED64]: uint64,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.STRING]: { type: 'string' },
  [ScalarType.BYTES]: { type: 'string', contentEncoding: 'base64' },
  [ScalarType.UINT32]: uint32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.SINT32]: int32,
  [ScalarType.SINT64]: int64,
};
