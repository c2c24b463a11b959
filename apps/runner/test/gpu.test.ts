import { modelOf, parseNvidiaSmi, parseSimulatedGpus, simulatedCards, usageModel } from '../src/domain/gpu';

test.each([
  ['NVIDIA H100 80GB HBM3', 'H100'],
  ['NVIDIA H100 PCIe', 'H100'],
  ['NVIDIA H200', 'H200'],
  ['NVIDIA GH200 480GB', 'GH200'],
  ['NVIDIA B200', 'B200'],
  ['NVIDIA A100-SXM4-40GB', 'A100-40GB'],
  ['NVIDIA A100-PCIE-40GB', 'A100-40GB'],
  ['NVIDIA A100-SXM4-80GB', 'A100-80GB'],
  ['NVIDIA A100 80GB PCIe', 'A100-80GB'],
  ['NVIDIA L40S', 'L40S'],
  ['NVIDIA L40', 'L40'],
  ['NVIDIA L4', 'L4'],
  ['Tesla T4', 'T4'],
  ['NVIDIA A10', 'A10'],
  ['NVIDIA A10G', 'A10G'],
  ['NVIDIA RTX PRO 6000 Blackwell Server Edition', 'RTX-PRO-6000'],
  ['NVIDIA GeForce RTX 4090', 'RTX-4090'],
  ['Quadro RTX 6000/8000', 'QUADRO-RTX-6000-8000'],
  ['NVIDIA', 'GPU'],
])('%s is asked for as %s', (name, model) => {
  expect(modelOf(name)).toBe(model);
});

test('what nvidia-smi prints becomes cards; what is no card is left out', () => {
  const printed =
    '0, NVIDIA H100 80GB HBM3, 81559, GPU-1a\n1, NVIDIA GH200 480GB, [N/A], GPU-2b\n\nNo devices were found\n';
  expect(parseNvidiaSmi(printed)).toEqual([
    { index: 0, model: 'H100', memoryMib: 81559, uuid: 'GPU-1a', simulated: false },
    { index: 1, model: 'GH200', memoryMib: 0, uuid: 'GPU-2b', simulated: false },
  ]);
});

test.each([
  ['', []],
  ['H100:2,A10:1', ['H100', 'H100', 'A10']],
  [' l4 , t4:0', ['L4']],
  ['H100:', undefined],
  ['H100:x', undefined],
  ['H100:99999', undefined],
])('%j simulates %j', (text, models) => {
  expect(parseSimulatedGpus(text)).toEqual(models);
});

test('simulated cards stand behind real ones, and are marked wherever they show', () => {
  const [first, second] = simulatedCards(['H100', 'RARE'], 4, 'me');
  expect(first).toMatchObject({ index: 4, model: 'H100', simulated: true });
  expect(second!.memoryMib).toBeGreaterThan(0);
  expect(first!.uuid).not.toBe(second!.uuid);
  expect(usageModel(first!)).toBe('H100-simulated');
  expect(usageModel({ model: 'H100', simulated: false })).toBe('H100');
});
