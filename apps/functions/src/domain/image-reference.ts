/**
 * What an image may be made from, by name. Nodes share one store of images between tenants, and an engine resolves more
 * than names there: the first digits of an id, and whatever was built on the node. Neither may be said.
 */
const REFERENCE = /^[a-z0-9][\w.\-/:]{0,254}(@sha256:[0-9a-f]{64})?$/i;
const OWN = /^((index\.)?docker\.io\/)?berth\//i;
const OWN_BASE = /^berth\/base(:|$)/;
const ID = /^(sha256:.*|[0-9a-f]{1,64})$/i;

/** Why nobody may name this image; undefined for one that may be named. Completes "… is": say the field before it. */
export function refusedReference(reference: string): string | undefined {
  if (reference.length > 255 || !REFERENCE.test(reference)) {
    return 'is not an image reference such as python:3.12-slim';
  }
  if (ID.test(reference)) {
    return `reads as an image's id: write it with a tag, as ${reference.replace(/^sha256:/i, '')}:latest`;
  }
  if (OWN.test(reference) && !OWN_BASE.test(reference)) {
    return 'is below berth/, where only berth/base is for everyone: name an image of your own by its id, im-…';
  }
  return undefined;
}

/** Berth's own base has one tag, which need not be said. */
export const fullReference = (reference: string): string =>
  reference === 'berth/base' ? 'berth/base:stable' : reference;
