/** What generator functions yield, from the caller's side. */
import type { Http } from './http';
import { resume } from './resume';
import type { FunctionItem } from './types';

export interface ItemsOptions {
  /** The index of the last item that is known. */
  after?: number;
  /** Waits for items to come, until the input has ended. */
  follow?: boolean;
  /** Of a map: whose items; default the first input's. */
  inputIndex?: number;
  signal?: AbortSignal;
}

/** Items after an index; a stream that breaks is opened again where it broke. */
export async function* readItems<T>(
  http: Http,
  callId: string,
  { after, follow = false, inputIndex = 0, signal }: ItemsOptions,
): AsyncGenerator<FunctionItem<T>> {
  let last = after;
  const open = () =>
    http.lines<FunctionItem<T>>(`/v1/function-calls/${encodeURIComponent(callId)}/items`, {
      query: { follow, input_index: inputIndex, after: last },
      ...(signal ? { signal } : {}),
    });
  for await (const item of resume(open, signal)) {
    last = item.index;
    yield item;
  }
}
