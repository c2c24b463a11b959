import { isDeepStrictEqual } from 'node:util';
import type { Definition } from './definition';

export interface VersionContent {
  definition: Definition;
  source: string;
}

/** The parts of a version that are not as in the one before, in the order of their names. */
export function changedParts(before: VersionContent, after: VersionContent): string[] {
  const [one, other]: Record<string, unknown>[] = [
    { ...before.definition, source: before.source },
    { ...after.definition, source: after.source },
  ] as [Record<string, unknown>, Record<string, unknown>];
  const parts = new Set([...Object.keys(one!), ...Object.keys(other!)]);
  return [...parts].filter((part) => !isDeepStrictEqual(one![part], other![part])).sort();
}
