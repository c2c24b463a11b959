import type { FunctionOutput, InvocationError, InvocationResult, Webhook } from './types';

/** User code failed, or was stopped; `error.type` and `error.traceback` say how. */
export class FunctionFailed extends Error {
  constructor(readonly invocation: InvocationResult | FunctionOutput) {
    super(invocation.error ? `${invocation.error.type}: ${invocation.error.message}` : invocation.status);
    this.name = 'FunctionFailed';
  }

  get error(): InvocationError | null {
    return this.invocation.error;
  }
}

/** Positional and named arguments of a call. */
export interface Arguments {
  args?: readonly unknown[];
  kwargs?: Record<string, unknown>;
  /** Of a function that is a class: what is called of it; may be left out where it has one method only. */
  method?: string;
  /** Is told when the call has ended. */
  webhook?: Webhook;
}
