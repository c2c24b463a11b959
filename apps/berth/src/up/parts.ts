import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SERVICES } from './environment';
import { AFTER_SERVICES, BEFORE_SERVICES } from './first-run';
import type { Parts } from './up';

/** The eight services as the build left them: in one process, or `separate`, each in its own. */
export function builtParts(separate: boolean, dist = join(__dirname, '..')): Parts {
  const images = join(dist, '../tools/images/build.mjs');
  const step = (name: string) => ({ name, args: [join(dist, 'berth/step.js'), name] });
  return {
    processes: separate
      ? SERVICES.map((name) => ({ name, services: [name], args: [join(dist, name, 'main.js')] }))
      : [{ name: 'services', services: SERVICES, args: [join(dist, 'berth/services.js')] }],
    before: BEFORE_SERVICES.map(step),
    images: existsSync(images) ? [{ name: 'images', args: [images] }] : [],
    after: AFTER_SERVICES.map((name) => ({ ...step(name), proves: name === 'prove' })),
  };
}
