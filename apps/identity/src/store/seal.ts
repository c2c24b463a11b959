import type { Seal } from '@berth/service-kit';

/** How an answer that holds a secret is kept for a repeat of its request: sealed. */
export const sealedAnswer = <T>(
  seal: Seal,
  codec: { encode(response: T): { finish(): Uint8Array }; decode(bytes: Uint8Array): T },
) => ({
  encode: (response: T) => ({ finish: () => seal.close(codec.encode(response).finish()) }),
  decode: (bytes: Uint8Array) => codec.decode(seal.open(bytes)),
});
