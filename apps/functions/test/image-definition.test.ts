/** What an image may be made of; and that the same is the same. */
import { readContainerfile } from '../src/domain/containerfile';
import {
  checkImage,
  contentHash,
  type GivenImage,
  type ImageDefinition,
} from '../src/domain/image-definition';
import { refusedReference } from '../src/domain/image-reference';

const given = (change: Partial<GivenImage>): GivenImage => ({
  base: '',
  steps: [],
  containerfile: '',
  context: '',
  files: {},
  registry_secret: '',
  environment: '',
  ...change,
});
const fieldOf = (change: Partial<GivenImage>): string | undefined => {
  try {
    checkImage(given(change));
    return undefined;
  } catch (error) {
    return (error as { field: string }).field;
  }
};
const pip = {
  packages: ['six'],
  requirements: '',
  index_url: '',
  extra_index_urls: [],
  find_links: [],
  pre: false,
};

test.each([
  'python:3.12-slim',
  'ghcr.io/team/app@sha256:' + 'a'.repeat(64),
  'localhost:5000/x',
  'docker.io/library/cafe',
  'berth/base:stable',
  'cafe:latest',
])('%s may be named', (reference) => expect(refusedReference(reference)).toBeUndefined());

test.each([
  'cafe',
  '3',
  'a'.repeat(64),
  'sha256:' + 'a'.repeat(64),
  'sha256:3',
  'berth/image:im-0',
  'docker.io/berth/image:im-0',
  'index.docker.io/berth/cache:x',
  'BERTH/image:x',
  'berth/basement',
  '',
  'a b',
  '-x',
  '$X',
  '"3"',
])('%s may not: it reads as something that the node has of others', (reference) =>
  expect(refusedReference(reference)).toMatch(/^(is|reads)/),
);

test.each<[string, string[]]>([
  ['FROM python:3.12', ['python:3.12']],
  [
    '# syntax=docker/dockerfile:1\nARG V=3.12\nARG W\nFROM python:${V}-slim AS a\nFROM a\nCOPY --from=a /x /x',
    ['python:3.12-slim'],
  ],
  [
    'FROM --platform=linux/amd64 \\\n  # why\n  debian:12 \\\n AS one\nRUN true\nFROM scratch\nCOPY --from=one / /\nCOPY --from=0 / /',
    ['debian:12'],
  ],
  ['FROM ${A:-debian:12}\nCOPY --from=busybox:1 /bin/sh /', ['debian:12', 'busybox:1']],
  ['FROM berth/base', ['berth/base:stable']],
  ['from debian:12\nADD --chown=1:1 a.tar /x/\nADD *.py ./', ['debian:12']],
])('the bases of %j are %j', (text, bases) => expect(readContainerfile(text).bases).toEqual(bases));

test.each([
  '',
  'RUN true',
  'FROM',
  'FROM 3a',
  'ARG X=3a\nFROM $X',
  'FROM berth/image:im-1',
  'ARG X=image:im-1\nFROM docker.io/berth/${X}',
  'FROM debian:12\nCOPY --from=3a / /',
  'FROM debian:12\nCOPY --from=1 / /',
  'FROM debian:12\nCOPY --fr"om=3a" / /',
  'FROM debian:12\nCOPY --fro\\m=3a / /',
  'FROM debian:12\nRUN x \\\u00a0\nCOPY --from=3a / /',
  'FROM debian:12\nRUN true \\',
  'FROM debian:12\nADD http://169.254.169.254/ /x',
  'FROM debian:12\nADD ["http:\\/\\/169.254.169.254", "/x"]',
  'FROM debian:12\nARG U=http://x\nADD $U /x',
  'FROM debian:12\nADD ht"tp"://x /x',
  '# escape=`\nFROM debian:12',
  'FROM debian:12 AS a\nONBUILD COPY --from=3a / /stolen\nFROM a',
  'FROM debian:12\nRUN echo \\\\\nFROM 3a',
  'FROM debian:12\nRUN echo \\\\\\\nFROM 3a',
  'FROM debian:12\nRUN echo \\ \\\n\n',
  'ARG A=x B=3a\nFROM ${B:-debian:12}',
  'FROM debian:12 AS 3a\nCOPY --from=3a / /',
  'FROM debian:12 AS abc\nCOPY --from=abc / /',
  'FROM debian:12 AS a\nFROM debian:12 AS A',
  'FROM debian:12\nCOPY --from=0 / /',
  'FROM debian:12\nRUN --mount=type=bind,from=3a,target=/x true',
  'FROM debian:12\nRUN cat <<EOF\nFROM 3a\nEOF',
  'FROM debian:12\nRUN a\rFROM 3a',
  'FROM debian:12\nRUN a\u0085',
])('%j is refused', (text) =>
  expect(() => readContainerfile(text)).toThrow(
    expect.objectContaining({ kind: 'invalid', field: 'containerfile' }),
  ),
);

test('what an engine is given is what was read', () =>
  expect(
    readContainerfile(
      '# a\nARG V="12"\nfrom --platform=linux/amd64 debian:${V} as Base\r\nRUN echo \\\n# why\n\n one\nCMD ["a", "b"]\nFROM base\nCOPY --from=BASE --chown=1:1 /a /b\nCOPY --from=0 /a /b\nFROM scratch\n',
    ).text,
  ).toBe(
    'ARG V="12"\nFROM --platform=linux/amd64 debian:12 AS stage-0\nRUN echo  one\nCMD ["a", "b"]\nFROM stage-0 AS stage-1\nCOPY --from=stage-0 --chown=1:1 /a /b\nCOPY --from=stage-0 /a /b\nFROM scratch AS stage-2\n',
  ));

test('good definitions pass', () => {
  expect(
    fieldOf({
      base: 'python:3.12-slim',
      registry_secret: 'registry',
      steps: [
        { apt_install: { packages: ['git', 'libgl1', 'curl=7.88.1-10+deb12u8', 'g++'] } },
        { pip_install: { ...pip, packages: ['torch==2.4.0', 'pkg[extra]>=1', 'x @ https://host/x.whl'] } },
        { pip_install: { ...pip, packages: [], requirements: 'six\n# why\n-r other.txt' } },
        { npm_install: { packages: ['left-pad', '@scope/name@^1.2'], registry_url: 'https://host/npm' } },
        { run_commands: { commands: ['echo "a" && \\\n  echo $HOME'] } },
        { copy: { tree: '', files: { 'a.txt': 'a' }, to: '/app/data' } },
        { env: { variables: { A: 'x "y" $z \\' } } },
        { workdir: { path: '/app' } },
      ],
    }),
  ).toBeUndefined();
  expect(fieldOf({ containerfile: 'FROM debian:12', files: { a: 'a' } })).toBeUndefined();
  expect(fieldOf({})).toBeUndefined(); // The base image as it is.
});

test.each<[string, Partial<GivenImage>]>([
  ['base', { base: 'cafe' }],
  ['base', { base: 'debian', containerfile: 'FROM debian' }],
  ['steps', { steps: [{ workdir: { path: '/x' } }], containerfile: 'FROM debian' }],
  ['context', { base: 'debian', context: 'tr-1' }],
  ['files', { base: 'debian', files: { a: '' } }],
  ['context', { containerfile: 'FROM debian', context: 'tr-1', files: { a: '' } }],
  ['containerfile', { containerfile: 'FROM debian\0' }],
  ['registry_secret', { base: 'debian', registry_secret: 'a b' }],
  ['environment', { base: 'debian', environment: 'prod' }],
  ['steps', { steps: Array.from({ length: 101 }, () => ({ workdir: { path: '/x' } })) }],
  ['steps[0].apt_install.packages', { steps: [{ apt_install: { packages: [] } }] }],
  ['steps[0].apt_install.packages', { steps: [{ apt_install: { packages: ['-oX=y'] } }] }],
  ['steps[0].apt_install.packages', { steps: [{ apt_install: { packages: ['a; rm -rf /'] } }] }],
  ['steps[0].pip_install.packages', { steps: [{ pip_install: { ...pip, packages: [] } }] }],
  ['steps[0].pip_install.packages', { steps: [{ pip_install: { ...pip, packages: ['--index-url=x'] } }] }],
  ['steps[0].pip_install.index_url', { steps: [{ pip_install: { ...pip, index_url: 'file:///' } }] }],
  [
    'steps[0].pip_install.extra_index_urls',
    { steps: [{ pip_install: { ...pip, extra_index_urls: ['https://u:p@h/'] } }] },
  ],
  [
    'steps[1].npm_install.packages',
    { steps: [{ workdir: { path: '/x' } }, { npm_install: { packages: ['--x'], registry_url: '' } }] },
  ],
  ['steps[0].run_commands.commands', { steps: [{ run_commands: { commands: [' '] } }] }],
  ['steps[0].copy.tree', { steps: [{ copy: { tree: 'tr-1', files: { a: '' }, to: '/' } }] }],
  ['steps[0].copy.files', { steps: [{ copy: { tree: '', files: {}, to: '/' } }] }],
  ['steps[0].copy.to', { steps: [{ copy: { tree: 'tr-1', files: {}, to: '/"$x' } }] }],
  ['steps[0].env.variables', { steps: [{ env: { variables: { 'A B': '' } } }] }],
  ['steps[0].env.variables', { steps: [{ env: { variables: { BERTH_SOCKET: '' } } }] }],
  ['steps[0].env.variables', { steps: [{ env: { variables: { A: 'a\nRUN x' } } }] }],
  ['steps[0].workdir.path', { steps: [{ workdir: { path: '/a\nRUN x' } }] }],
])('%s is at fault in %j', (field, change) => expect(fieldOf(change)).toBe(field));

test('the same definition has the same hash, whatever the order of its keys; another order of steps is another', () => {
  const one: ImageDefinition = {
    base: 'debian',
    steps: [{ env: { variables: { A: '1', B: '2' } } }, { workdir: { path: '/x' } }],
    containerfile: '',
    context: '',
    registry_secret: '',
    environment: '',
  };
  const same = {
    environment: '',
    registry_secret: '',
    context: '',
    containerfile: '',
    steps: [{ env: { variables: { B: '2', A: '1' } } }, { workdir: { path: '/x' } }],
    base: 'debian',
  };
  expect(contentHash(same)).toBe(contentHash(one));
  expect(contentHash({ ...one, steps: one.steps.toReversed() })).not.toBe(contentHash(one));
});
