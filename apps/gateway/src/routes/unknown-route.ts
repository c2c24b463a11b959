import { BerthError } from '@berth/service-kit';
import { nearest } from '../codec/nearest';
import { HttpProblem } from '../problem';

/** What the doors offer: `GET` and `/v1/apps/{app_id}`. */
export interface Offer {
  verb: string;
  path: string;
}

/** The verbs that a path takes; empty for a path that is not there. */
export function verbsOf(path: string, offers: readonly Offer[]): string[] {
  const segments = path.split('/');
  const verbs = offers.filter((offer) => fits(offer.path.split('/'), segments)).map(({ verb }) => verb);
  return [...new Set(verbs.flatMap((verb) => (verb === 'GET' ? ['GET', 'HEAD'] : [verb])))];
}

/** The error for a verb and path that no route takes. */
export function unknownRoute(verb: string, path: string, offers: readonly Offer[]): BerthError {
  const verbs = verbsOf(path, offers);
  if (verbs.length > 0) {
    const allow = verbs.join(', ');
    return new HttpProblem('unimplemented', `${verb} is not for this path: it takes ${allow}.`, 405, {
      allow,
    });
  }
  const asked = path.slice(0, 256).replace(/\/+$/, '');
  const meant = nearest(
    asked.replace(/^\/?/, '/'),
    offers.map((offer) => fill(offer.path, asked)),
  );
  const advice = meant ? `did you mean ${meant}?` : 'GET /openapi.json lists what is.';
  return new BerthError('not_found', `There is no ${asked || '/'} here: ${advice}`);
}

const fits = (pattern: string[], segments: string[]): boolean =>
  pattern.length === segments.length &&
  pattern.every((part, index) => part.startsWith('{') || part === segments[index]);

/** The offered path with the caller's own ids in it, so that the distance counts the words alone. */
function fill(pattern: string, path: string): string {
  const segments = path.split('/');
  return pattern
    .split('/')
    .map((part, index) => (part.startsWith('{') ? (segments[index] ?? part) : part))
    .join('/');
}
