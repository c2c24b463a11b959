import { BerthError } from '@berth/service-kit';

/** Cards that can be asked for, as vendors of functions spell them. */
const RENTED_MODELS = [
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
];

/** Further cards that people own, as nodes name them. */
const OWNED_MODELS =
  /^(A10G|A2|A16|A30|A40|L40|GH200|GB200|B300|V100|P4|P40|P100|GTX-\d{4}(-TI)?|RTX-\d{4}(-TI)?(-SUPER)?|RTX-A\d{4}|TITAN-\w+)$/;

/** Cards that one machine holds at most. */
const GPUS_MAX = 16;

/**
 * GPU requests in order of preference in one spelling: `h100` is `H100`, `H100:1` is `H100`.
 * Errors: `invalid` for a model that does not exist or a count that no machine has.
 */
export function checkGpu(requests: readonly string[]): string[] {
  return requests.map((request) => {
    const [, name = '', count = '1'] = /^([^:]+)(?::(\d{1,3}))?$/.exec(request) ?? [];
    const known = [...RENTED_MODELS, 'any'].find((each) => each.toLowerCase() === name.toLowerCase());
    const model = known ?? OWNED_MODELS.exec(name.toUpperCase())?.[0];
    if (!model) {
      throw new BerthError(
        'invalid',
        `gpu: ${JSON.stringify(request.slice(0, 64))} is no card; there are ${RENTED_MODELS.join(', ')}, others that nodes have (berth node list), and any, each with a count as in H100:4.`,
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
