import { BerthError } from '@berth/service-kit';

/** Cards that can be asked for, as they are spelled. */
export const GPU_MODELS = [
  'T4',
  'L4',
  'A10',
  'A100-40GB',
  'A100-80GB',
  'L40S',
  'H100',
  'H200',
  'B200',
  'RTX-PRO-6000',
] as const;

/** Cards that one machine holds at most. */
const GPUS_MAX = 16;

/**
 * GPU requests in order of preference in one spelling: `h100` is `H100`, `H100:1` is `H100`.
 * Errors: `invalid` for a model that does not exist or a count that no machine has.
 */
export function checkGpu(requests: readonly string[]): string[] {
  return requests.map((request) => {
    const [, name = '', count = '1'] = /^([^:]+)(?::(\d{1,3}))?$/.exec(request) ?? [];
    const model = [...GPU_MODELS, 'any'].find((each) => each.toLowerCase() === name.toLowerCase());
    if (!model) {
      throw new BerthError(
        'invalid',
        `gpu: ${JSON.stringify(request.slice(0, 64))} is no card; there are ${GPU_MODELS.join(', ')} and any, each with a count as in H100:4.`,
        { field: 'gpu' },
      );
    }
    const cards = Number(count);
    if (cards < 1 || cards > GPUS_MAX) {
      throw new BerthError('invalid', `gpu: the count of cards must be from 1 to ${GPUS_MAX}.`, {
        field: 'gpu',
      });
    }
    return cards === 1 ? model : `${model}:${cards}`;
  });
}
