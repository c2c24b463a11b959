import { accessOf, contracts, deadlineSecondsOf, fieldIs, httpStatusOf, routeOf } from '@berth/contracts';

const methods = [...contracts()]
  .filter((type) => type.kind === 'service')
  .flatMap((service) => service.methods);
const method = (name: string) => methods.find((each) => each.name === name)!;

test('every method says who may call it', () => {
  expect(methods.length).toBeGreaterThan(30);
  expect(methods.filter((each) => !accessOf(each)).map((each) => each.name)).toEqual([]);
});

test('a route carries its verb, path, body, status', () => {
  expect(routeOf(method('CreateApp'))).toEqual({
    verb: 'POST',
    path: '/v1/apps',
    body: '*',
    responseBody: 'app',
  });
  expect(httpStatusOf(method('CreateApp'))).toBe(201);
  expect(httpStatusOf(method('GetApp'))).toBe(200);
  expect(deadlineSecondsOf(method('GetApp'))).toBe(15);
  expect(deadlineSecondsOf(method('SpawnFunction'))).toBe(60);
  expect(routeOf(method('AttachRunner'))).toBeUndefined();
});

test('access rules are read as written', () => {
  expect(accessOf(method('SetWish'))).toEqual({
    role: 'unspecified',
    scope: 'unspecified',
    services: ['functions', 'workspace'],
    anonymous: false,
    containers: false,
  });
  expect(accessOf(method('GetApp'))).toMatchObject({ role: 'member', scope: 'workspace', services: [] });
});

test('field options are read as written', () => {
  const { fields } = contracts().getMessage('berth.functions.v1.Function')!;
  expect(fields.filter((field) => fieldIs(field, 'one_or_many')).map((field) => field.name)).toEqual(['gpu']);
});
