import { BerthError } from '@berth/service-kit';

/** Whole cards of one model on one node. */
export interface GpuChoice {
  /** Upper case; `ANY` for whichever. */
  model: string;
  count: number;
}

const CHOICE = /^([A-Za-z0-9][A-Za-z0-9._-]{0,62})(?::([1-9]\d{0,2}))?$/;

/** `MODEL` or `MODEL:count`, each with `any` for the model, the most wanted first. Errors: `invalid`. */
export function parseGpu(wanted: readonly string[]): GpuChoice[] {
  return wanted.map((text) => {
    const [, model, count] = CHOICE.exec(text) ?? [];
    if (!model) {
      throw new BerthError(
        'invalid',
        `gpu ${JSON.stringify(text)} must be MODEL, MODEL:count or any:count.`,
        {
          field: 'spec.gpu',
        },
      );
    }
    return { model: model.toUpperCase(), count: Number(count ?? 1) };
  });
}

/** Whether a card of this model is what was asked for. Case does not matter. */
export const matches = (choice: GpuChoice, model: string): boolean =>
  choice.model === 'ANY' || choice.model === model.toUpperCase();
