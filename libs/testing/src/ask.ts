import type { CallContext, ClientOf, ServiceShape } from '@berth/service-kit';

/**
 * Asks any RPC of a contract by its name, for tests that are tables of RPCs. Fields that are not given have the
 * contract's defaults; a stream of answers is read to its end.
 */
export async function ask<S extends ServiceShape>(
  definition: S,
  client: ClientOf<S>,
  rpc: keyof S & string,
  fields: object = {},
  caller?: CallContext,
): Promise<unknown> {
  const request = Object.assign(definition[rpc]!.requestDeserialize(Buffer.alloc(0)) as object, fields);
  const method = client[rpc] as (request: object, options: object) => unknown;
  const answer = method(request, caller ? { for: caller } : {});
  if (!(Symbol.asyncIterator in (answer as object))) return answer;
  const answers = [];
  for await (const each of answer as AsyncIterable<unknown>) answers.push(each);
  return answers;
}
