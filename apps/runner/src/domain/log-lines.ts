/** The lines in a piece of output. A worker sends whole lines where user code wrote whole lines; a rest is one too. */
export function linesOf(bytes: Buffer): string[] {
  const lines = bytes.toString('utf8').split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}
