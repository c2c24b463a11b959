import fc from 'fast-check';
import { ProtocolError } from '../src/frame';
import { parseWorkerMessage } from '../src/messages';

const error = { type: 'ValueError', message: 'no', traceback: '' };
const good = [
  { type: 'hello', token: 't', runtime: 'python', version: '3.11.2', pid: 1 },
  { type: 'ready', init_ms: 0 },
  { type: 'init_failed', error },
  { type: 'success', input_id: 'in-1', attempt: 1, format: 'json', run_us: 5 },
  { type: 'failure', input_id: 'in-1', attempt: 1, error, run_us: 5 },
  { type: 'log', stream: 'stderr', input_id: null },
];

test.each(good)('takes $type, and leaves out what it does not know', (message) => {
  expect(parseWorkerMessage(JSON.stringify({ ...message, unknown: 1 }))).toEqual(message);
});

test.each([
  ['', /not JSON/],
  ['[]', /not a JSON object/],
  ['null', /not a JSON object/],
  ['{}', /no known "type"/],
  ['{"type":"input"}', /no known "type"/],
  ['{"type":"__proto__"}', /no known "type"/],
  ['{"type":"success","input_id":1}', /"input_id" of a success frame must be a string/],
  ['{"type":"success","input_id":"a","attempt":-1}', /"attempt" of a success frame must be an integer/],
  ['{"type":"success","input_id":"a","attempt":1,"format":"json","run_us":0.5}', /"run_us"/],
  [
    '{"type":"failure","input_id":"a","attempt":1,"error":"x"}',
    /"error" of a failure frame must be an object/,
  ],
  [
    '{"type":"failure","input_id":"a","attempt":1,"error":{"type":"a","message":1,"traceback":""}}',
    /all strings/,
  ],
  ['{"type":"log","stream":"stdin"}', /"stream" of a log frame must be one of stdout, stderr/],
  ['{"type":"hello","token":"t","runtime":"perl"}', /"runtime"/],
])('refuses %s', (header, message) => {
  expect(() => parseWorkerMessage(header)).toThrow(message);
});

test('cuts what a user can make endless', () => {
  const endless = { type: 'e'.repeat(1e6), message: 'm'.repeat(1e6), traceback: 't'.repeat(1e6) };
  const message = parseWorkerMessage(JSON.stringify({ type: 'init_failed', error: endless }));
  expect(JSON.stringify(message).length).toBeLessThan(400_000);
});

test('any JSON is a message or a ProtocolError', () => {
  fc.assert(
    fc.property(fc.constantFrom(...good), fc.string(), fc.jsonValue(), (message, field, value) => {
      try {
        parseWorkerMessage(JSON.stringify({ ...message, [field]: value, error: value }));
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});
