import { Readable } from 'node:stream';
import { inspect } from 'node:util';

import { createBody, type DockerHost } from '../src/docker/create-body';
import { readFrames, splitTimestamp } from '../src/docker/frames';
import { connectDocker, type Device } from '../src';
import { completeSpec } from '../src/validate-spec';

const host: DockerHost = { owner: 'me', networkId: 'n1', gpuDriver: 'nvidia' };
const spec = (devices: Device[] = []) => completeSpec({ name: 'a', image: 'i', command: ['x'], devices });

test('a container is unprivileged and limited unless its spec says otherwise', () => {
  expect(createBody(spec(), host)).toMatchObject({
    User: '65534:65534',
    Labels: { 'berth.owner': 'me' },
    HostConfig: {
      Init: true,
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      NetworkMode: 'n1',
      PidsLimit: 1024,
    },
  });
});

test('a memory limit leaves no swap', () => {
  const limited = completeSpec({ name: 'a', image: 'i', command: ['x'], memoryBytes: 2 ** 30, cpus: 0.5 });
  const { HostConfig } = createBody(limited, host);
  expect(HostConfig).toMatchObject({ Memory: 2 ** 30, MemorySwap: 2 ** 30, NanoCpus: 5e8 });
});

describe('cards', () => {
  const cards: Device[] = [
    { kind: 'gpu', index: 1, simulated: false },
    { kind: 'gpu', index: 3, uuid: 'GPU-3f', simulated: false },
  ];

  test('are asked for by id, with NVIDIA’s runtime or the container device interface', () => {
    expect(createBody(spec(cards), host).HostConfig?.DeviceRequests).toEqual([
      { Driver: 'nvidia', DeviceIDs: ['1', 'GPU-3f'], Capabilities: [['gpu']] },
    ]);
    expect(createBody(spec(cards), { ...host, gpuDriver: 'cdi' }).HostConfig?.DeviceRequests).toEqual([
      { Driver: 'cdi', DeviceIDs: ['nvidia.com/gpu=1', 'nvidia.com/gpu=GPU-3f'] },
    ]);
  });

  test('that are simulated are never asked for', () => {
    const body = createBody(spec([{ kind: 'gpu', index: 0, simulated: true }]), host);
    expect(body.HostConfig).not.toHaveProperty('DeviceRequests');
    expect(body.Env).toEqual(
      expect.arrayContaining(['BERTH_SIMULATED_GPU=0', 'NVIDIA_VISIBLE_DEVICES=void']),
    );
  });
});

test('frames are found wherever the stream is cut', async () => {
  const frame = (stream: number, text: string) => {
    const header = Buffer.alloc(8);
    header[0] = stream;
    header.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([header, Buffer.from(text)]);
  };
  const whole = Buffer.concat([frame(1, 'one'), frame(2, ''), frame(2, 'zwei €'), frame(1, 'x'.repeat(100))]);
  for (const size of [1, 2, 7, 8, 9, 13, whole.length]) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < whole.length; at += size) pieces.push(whole.subarray(at, at + size));
    const found: string[] = [];
    for await (const { stream, data } of readFrames(Readable.from(pieces)))
      found.push(`${stream}:${data.toString()}`);
    expect(found).toEqual(['stdout:one', 'stderr:', 'stderr:zwei €', `stdout:${'x'.repeat(100)}`]);
  }
});

test('a time stamp is taken off, text without one is kept', () => {
  expect(splitTimestamp(Buffer.from('2026-01-02T03:04:05.678901234Z a b\n'))).toEqual({
    time: new Date('2026-01-02T03:04:05.678Z'),
    data: Buffer.from('a b\n'),
  });
  expect(splitTimestamp(Buffer.from('no stamp')).data.toString()).toBe('no stamp');
});

test('a connection that was used describes itself in a word: the client does that for every request', async () => {
  const { docker, agent } = connectDocker(process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock');
  try {
    await docker.ping();
    expect(inspect(agent, { showHidden: true, depth: null }).length).toBeLessThan(100);
  } finally {
    agent.destroy();
  }
});
