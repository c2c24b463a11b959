import { translatePaths } from '../src/process/translate-paths';

const mounts = [
  { source: '/host/src', target: '/berth/source', readOnly: true },
  { source: '/host/data/', target: '/berth/source/data', readOnly: false },
  { source: '/state/c1/tmp', target: '/tmp', readOnly: false },
  { source: '/tmp/x+y', target: '/berth/run', readOnly: false },
];

test.each([
  ['/berth/source', '/host/src'],
  ['/berth/source/', '/host/src/'],
  ['/berth/source/a/b.py', '/host/src/a/b.py'],
  ['/berth/source/data/x', '/host/data/x'],
  ['/a:/berth/source:/berth/run', '/a:/host/src:/tmp/x+y'],
  ['--dir=/berth/source', '--dir=/host/src'],
  [`sh -c 'ls "/berth/source"; cat </tmp/f'`, `sh -c 'ls "/host/src"; cat </state/c1/tmp/f'`],
  ['/tmp/x+y/sock', '/tmp/x+y/sock'], // A source already, though it lies below a target.
])('%s becomes %s', (text, expected) => {
  expect(translatePaths(mounts, text)).toBe(expected);
  expect(translatePaths(mounts, expected)).toBe(expected);
});

test.each([
  '/berth/source2',
  '/berth/source.bak',
  '/x/berth/source',
  'host/berth/source',
  '/var/tmp/x',
  '',
  '$&',
])('%s stays', (text) => {
  expect(translatePaths(mounts, text)).toBe(text);
});
