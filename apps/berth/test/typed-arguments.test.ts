import { readTypedArguments } from '../src/cli/typed-arguments';
import type { Parameter } from '../src/cli/user-file';

const parameter = (name: string, type: Parameter['type'], some: Partial<Parameter> = {}): Parameter => ({
  name,
  type,
  kind: 'positional_or_keyword',
  required: false,
  ...some,
});
const parameters = [
  parameter('x', 'int', { required: true }),
  parameter('rate', 'float'),
  parameter('name', 'str'),
  parameter('dry_run', 'bool', { kind: 'keyword_only' }),
  parameter('options', 'json', { kind: 'keyword_only' }),
  parameter('any', '', { kind: 'keyword_only' }),
];

test.each<[string, unknown[], Record<string, unknown>]>([
  ['3', [3], {}],
  ['--x 3', [], { x: 3 }],
  ['--x=-3', [], { x: -3 }],
  ['3 0.5 007', [3, 0.5, '007'], {}],
  ['3 --name 12 --dry-run', [3], { name: '12', dry_run: true }],
  ['3 --no-dry-run', [3], { dry_run: false }],
  ['3 --dry_run false', [3], { dry_run: false }],
  ['--dry-run --x 3', [], { x: 3, dry_run: true }],
  ['3 --options {"a":[1]}', [3], { options: { a: [1] } }],
  ['3 --any word', [3], { any: 'word' }],
  ['3 --any 7', [3], { any: 7 }],
])('%s', (words, args, kwargs) => {
  expect(readTypedArguments(words.split(' '), parameters)).toEqual({ args, kwargs });
});

test.each([
  ['', /Missing: --x\. It takes: --x INT \[--rate FLOAT\] \[--name STR\] \[--dry-run\]/],
  ['three', /--x must be a whole number, and three is not/],
  ['1.5', /--x must be a whole number/],
  ['99999999999999999999', /--x must be a whole number/],
  ['3 fast', /--rate must be a number/],
  ['3 --options {', /--options must be JSON/],
  ['3 --nonsense 1', /There is no parameter --nonsense/],
  ['3 --x 4', /x is given twice/],
  ['--x', /--x has no value/],
  ['3 1 a b', /There is no parameter for b/],
])('%s is refused', (words, message) => {
  const given = words === '' ? [] : words.split(' ');
  expect(() => readTypedArguments(given, parameters)).toThrow(message);
});

test('what a function takes of any number goes there', () => {
  const open = [
    parameter('first', 'str'),
    parameter('rest', 'int', { kind: 'var_positional' }),
    parameter('more', '', { kind: 'var_keyword' }),
  ];
  expect(readTypedArguments('a 1 2 --k 3'.split(' '), open)).toEqual({ args: ['a', 1, 2], kwargs: { k: 3 } });
});
