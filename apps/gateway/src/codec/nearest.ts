/** The candidate that `word` was probably meant to be; undefined when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const plain = fold(word);
  if (plain.length > 64) return undefined;
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const other = fold(candidate);
    const distance = editDistance(plain, other);
    const near = Math.max(1, Math.floor(Math.max(plain.length, other.length) / 3));
    if (distance <= near && (!best || distance < best.distance)) best = { candidate, distance };
  }
  return best?.candidate;
}

/** `appId`, `app-id` and `app_id` are the same word. */
const fold = (word: string): string => word.toLowerCase().replace(/[_-]/g, '');

/** Levenshtein's, with two neighbours that changed places as one edit: the commonest slip of a hand. */
function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      const swapped =
        i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
          ? before[j - 2]! + 1
          : Infinity;
      next.push(Math.min(replaced, swapped, row[j]! + 1, next[j - 1]! + 1));
    }
    before = row;
    row = next;
  }
  return row[to.length]!;
}
