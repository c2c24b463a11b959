/** The contracts as data: what the generated types do not say (routes, access rules, comments). */
import {
  createFileRegistry,
  fromBinary,
  getExtension,
  type DescField,
  type DescMethod,
  type FileRegistry,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { DESCRIPTORS } from './generated/descriptors';

export type { DescField, DescMethod, FileRegistry };

let registry: FileRegistry | undefined;

/** Every message, enum, extension and service of proto/. Parsed once. */
export function contracts(): FileRegistry {
  registry ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(DESCRIPTORS, 'base64')));
  return registry;
}

/** The binary FileDescriptorSet, for gRPC reflection. */
export const descriptorSet = (): Buffer => Buffer.from(DESCRIPTORS, 'base64');

export type Role = 'unspecified' | 'member' | 'manager' | 'owner';
export const ROLES: readonly Role[] = ['unspecified', 'member', 'manager', 'owner'];

/** Who may call a method: `berth.options.v1.access`. */
export interface AccessRule {
  role: Role;
  scope: 'unspecified' | 'workspace' | 'organization';
  services: readonly string[];
  anonymous: boolean;
  /** The credential of a container's own run may call it too. */
  containers: boolean;
}

const SCOPES = ['unspecified', 'workspace', 'organization'] as const;

function extension(name: string) {
  const found = contracts().getExtension(name);
  if (!found) throw new Error(`no extension ${name} in the descriptors: run node tools/generate.mjs`);
  return found;
}

/** A method's access rule; undefined when its author wrote none. */
export function accessOf(method: DescMethod): AccessRule | undefined {
  const options = method.proto.options;
  const access = extension('berth.options.v1.access');
  if (!options) return undefined;
  const value = getExtension(options, access) as
    { role: number; scope: number; services: string[]; anonymous: boolean; containers: boolean } | undefined;
  if (!value || !(options.$unknown ?? []).some((field) => field.no === access.number)) return undefined;
  return {
    role: ROLES[value.role] ?? 'unspecified',
    scope: SCOPES[value.scope] ?? 'unspecified',
    services: value.services,
    anonymous: value.anonymous,
    containers: value.containers,
  };
}

/** The status of success over HTTP; 200 when none is written. */
export const httpStatusOf = (method: DescMethod): number =>
  (method.proto.options &&
    (getExtension(method.proto.options, extension('berth.options.v1.http_status')) as number)) ||
  200;

/** How long the gateway lets a method take, restarts of its service included; seconds. */
export const deadlineSecondsOf = (method: DescMethod): number =>
  (method.proto.options &&
    (getExtension(method.proto.options, extension('berth.options.v1.deadline_seconds')) as number)) ||
  15;

export interface HttpRoute {
  verb: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';
  /** As in google.api.http: `/v1/apps/{app_id}`. */
  path: string;
  /** `*`, a field's name, or empty. */
  body: string;
  /** A field's name, or empty. */
  responseBody: string;
}

/** A method's route; undefined for a method that has no REST door. */
export function routeOf(method: DescMethod): HttpRoute | undefined {
  const options = method.proto.options;
  if (!options) return undefined;
  const rule = getExtension(options, extension('google.api.http')) as unknown as {
    pattern: { case?: string; value?: string };
    body: string;
    responseBody: string;
  };
  const { case: verb, value: path } = rule.pattern;
  if (!verb || typeof path !== 'string') return undefined;
  return {
    verb: verb.toUpperCase() as HttpRoute['verb'],
    path,
    body: rule.body,
    responseBody: rule.responseBody,
  };
}

/** A field's boolean option of `berth.options.v1`. */
export const fieldIs = (
  field: DescField,
  option: 'json' | 'one_or_many' | 'raw' | 'required' | 'secret',
): boolean =>
  Boolean(field.proto.options && getExtension(field.proto.options, extension(`berth.options.v1.${option}`)));
