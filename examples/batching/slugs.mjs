/** Callers send one title each; an Error in the list fails its own call and no other. */
export function slugs(titles) {
  console.log('a batch of', titles.length);
  return titles.map((title) => {
    if (typeof title !== 'string') return new TypeError(`a title is a string, not a ${typeof title}`);
    return title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  });
}
