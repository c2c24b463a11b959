import { readValues, type ValueSources } from '../src/cli/secret-values';

const sources: ValueSources = {
  stdin: () => 'from stdin\n',
  ask: async (variable) => `typed for ${variable}`,
  file: (path) => (path === '.env' ? '# comment\nA=1\nexport B="two words"\n' : ''),
};
const read = (words: string[], dotenv?: string) => readValues(words, dotenv, sources);

test('values come from words, from standard input, from who is asked, and from a file, which words go over', async () => {
  expect(await read(['A=1', 'B=x=y', 'C=', 'D=-', 'E'])).toEqual({
    A: '1',
    B: 'x=y',
    C: '',
    D: 'from stdin',
    E: 'typed for E',
  });
  expect(await read(['A=2'], '.env')).toEqual({ A: '2', B: 'two words' });
});

test.each<[string, string[], string | undefined]>([
  ['nothing at all', [], undefined],
  ['an empty file', [], 'other'],
  ['standard input for two variables', ['A=-', 'B=-'], undefined],
  ['standard input for a variable and a file', ['A=-'], '-'],
])('%s is refused', async (_, words, dotenv) => {
  await expect(read(words, dotenv)).rejects.toThrow(/no variable|only once/);
});
