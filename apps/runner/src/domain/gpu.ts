/** GPU cards: what a driver calls them, and what functions ask for. */

export interface Card {
  /** As CUDA counts on this node. */
  index: number;
  /** `H100`, `A100-80GB`, …: what a function's `gpu` names. */
  model: string;
  memoryMib: number;
  uuid: string;
  simulated: boolean;
}

/** In order: the first that fits names the model. A longer name stands before one that it begins with. */
const MODELS: readonly (readonly [RegExp, string])[] = [
  [/\bGB200\b/, 'GB200'],
  [/\bB200\b/, 'B200'],
  [/\bB300\b/, 'B300'],
  [/\bGH200\b/, 'GH200'],
  [/\bH200\b/, 'H200'],
  [/\bH100\b/, 'H100'],
  [/\bA100\b.*\b80GB\b/, 'A100-80GB'],
  [/\bA100\b/, 'A100-40GB'],
  [/\bRTX PRO 6000\b/, 'RTX-PRO-6000'],
  [/\bL40S\b/, 'L40S'],
  [/\bL40\b/, 'L40'],
  [/\bL4\b/, 'L4'],
  [/\bA10G\b/, 'A10G'],
  [/\bA10\b/, 'A10'],
  [/\bT4\b/, 'T4'],
];

/** The model that functions ask for, of the name that the driver gives: `NVIDIA H100 80GB HBM3` is `H100`. */
export function modelOf(name: string): string {
  const upper = name.toUpperCase().replace(/[^A-Z0-9]+/g, ' ');
  const known = MODELS.find(([pattern]) => pattern.test(upper));
  if (known) return known[1];
  const words = upper.split(' ').filter((word) => word !== '' && word !== 'NVIDIA' && word !== 'GEFORCE');
  return words.join('-') || 'GPU';
}

/** The cards in what `nvidia-smi --query-gpu=index,name,memory.total,uuid --format=csv,noheader,nounits` prints. */
export function parseNvidiaSmi(csv: string): Card[] {
  return csv.split('\n').flatMap((line) => {
    const [index, name, memory, uuid] = line.split(',').map((field) => field.trim());
    if (!name || !uuid || !/^\d+$/.test(index ?? '')) return [];
    // Cards that share the host's memory print `[N/A]`.
    return [
      { index: Number(index), model: modelOf(name), memoryMib: Number(memory) || 0, uuid, simulated: false },
    ];
  });
}

/** MiB of a card of that model, where no card can be asked. */
const MEMORY_MIB: Record<string, number> = {
  T4: 15_360,
  L4: 23_034,
  A10: 23_028,
  'A100-40GB': 40_960,
  'A100-80GB': 81_920,
  L40S: 46_068,
  H100: 81_559,
  H200: 143_771,
  B200: 183_359,
  'RTX-PRO-6000': 97_887,
};
const MEMORY_MIB_DEFAULT = 16_384;
const SIMULATED_MAX = 1024;

/** The models in `H100:2,A10:1`, one for each card; undefined for what cannot be read. */
export function parseSimulatedGpus(text: string): string[] | undefined {
  const models: string[] = [];
  for (const part of text.split(',').filter((each) => each.trim() !== '')) {
    const [, model, count = '1'] = /^\s*([A-Za-z0-9][A-Za-z0-9-]*)(?::(\d+))?\s*$/.exec(part) ?? [];
    if (!model || Number(count) > SIMULATED_MAX) return undefined;
    models.push(...Array.from({ length: Number(count) }, () => model.toUpperCase()));
  }
  return models;
}

/** Cards that stand in for ones that are not there. `firstIndex` lets them stand behind real ones. */
export const simulatedCards = (models: readonly string[], firstIndex: number, owner: string): Card[] =>
  models.map((model, offset) => ({
    index: firstIndex + offset,
    model,
    memoryMib: MEMORY_MIB[model] ?? MEMORY_MIB_DEFAULT,
    uuid: `SIMULATED-${owner}-${firstIndex + offset}`,
    simulated: true,
  }));

/** How a card stands in usage: nobody pays for one that is not there by mistake. */
export const usageModel = ({ model, simulated }: { model: string; simulated: boolean }): string =>
  simulated ? `${model}-simulated` : model;
