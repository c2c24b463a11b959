/** Which web endpoint a request is for, from its target and Host alone. */

export interface WebTarget {
  label: string;
  /** What stands before the app's own path: empty where the app has a host of its own. */
  rootPath: string;
  /** The app's own part, as it was sent; begins with '/'. */
  path: string;
  /** Without '?'. */
  query: string;
  /** As the client named it. */
  authority: string;
}

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const BY_PATH = new RegExp(`^/w/(${LABEL})(/.*)?$`, 'i');
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;
/** Visible ASCII but what ends a URL or belongs to none. */
const TARGET = /^[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e"<>\\^`{|}]*$/;
/** A name, an IPv4 or a bracketed IPv6 address, with a port or without. */
const AUTHORITY = /^(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/**
 * Undefined: the request is not for a web endpoint. `domain`: where each label is a host of its own; the paths are closed
 * then, so that no app shares an origin with the API. Where the target names a host itself, Host does not count
 * (RFC 9112, 3.2.2).
 */
export function webTarget(
  url: string,
  host: string | undefined,
  domain: string | undefined,
): WebTarget | undefined {
  const absolute = ABSOLUTE.exec(url);
  const authority = (absolute ? absolute[1]! : (host ?? '')).toLowerCase();
  const target = absolute ? absolute[2]! || '/' : url;
  if (!AUTHORITY.test(authority) || !TARGET.test(target)) return undefined;
  const mark = target.indexOf('?');
  const fullPath = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? '' : target.slice(mark + 1);

  if (domain) {
    const name = authority.replace(/:\d+$/, '');
    if (!name.endsWith(`.${domain}`)) return undefined;
    const label = name.slice(0, -domain.length - 1);
    const path = fullPath.startsWith('/') ? fullPath : `/${fullPath}`;
    return { label, rootPath: '', path, query, authority };
  }
  const [, label, path] = BY_PATH.exec(fullPath) ?? [];
  if (!label) return undefined;
  return { label: label.toLowerCase(), rootPath: `/w/${label}`, path: path || '/', query, authority };
}
