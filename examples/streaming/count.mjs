/** Yields the numbers up to `last`; user code stands still while nobody has recorded what it yielded before. */
export async function* count(last) {
  for (let number = 1; number <= last; number++) yield { number, square: number * number };
}
