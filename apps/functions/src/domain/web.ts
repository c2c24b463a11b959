import { hash } from 'node:crypto';
import type { Definition } from './definition';

/**
 * The payload of a web request: not the request, but where the gateway is that holds it. Only ServeWebRequest makes
 * inputs of this format, since runners dial the address that stands in them.
 */
export const WEB_FORMAT = 'web';

export const webPayload = (session: string, gateway: string): Buffer =>
  Buffer.from(JSON.stringify({ session, gateway }));

/** What stands before the hash is for the eye: a label is one DNS name, so at most 63 characters. */
const SLUG_LENGTH_MAX = 46;
const HASH_LENGTH = 16;

/**
 * Under what a function answers on the web, for its whole life: `<app>-<function>-<hash of its id>`. Small letters,
 * digits and hyphens, since it may be part of a host name. The migration that gives older rows theirs has the same rule.
 */
export function webLabel(appName: string, functionName: string, functionId: string): string {
  const slug = `${appName}-${functionName}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, SLUG_LENGTH_MAX)
    .replaceAll(/^-+|-+$/g, '');
  return `${slug}-${hash('sha256', functionId, 'hex').slice(0, HASH_LENGTH)}`;
}

/** Where web endpoints are reached. */
export interface WebAddress {
  /** The gateway as clients see it, such as `http://127.0.0.1:4600`. */
  publicUrl: string;
  /** Set: each label is a host of its own below this one. */
  domain: string | undefined;
}

/** Undefined for what is no web endpoint. */
export function webUrl(
  { publicUrl, domain }: WebAddress,
  label: string,
  { web }: Pick<Definition, 'web'>,
): string | undefined {
  if (!web) return undefined;
  if (!domain) return `${publicUrl}/w/${label}`;
  const { protocol, port } = new URL(publicUrl);
  return `${protocol}//${label}.${domain}${port ? `:${port}` : ''}`;
}
