import {
  accessOf,
  contracts,
  deadlineSecondsOf,
  httpStatusOf,
  routeOf,
  type DescMethod,
  type HttpRoute,
} from '@berth/contracts';

/** A method that the contracts open to the public, by giving it a route. */
export interface PublicMethod {
  descriptor: DescMethod;
  /** `/berth.functions.v1.FunctionsService/GetApp` */
  grpcPath: string;
  /** The service that owns it, as it is addressed. */
  peer: string;
  route: HttpRoute;
  /** Of success. */
  httpStatus: number;
  anonymous: boolean;
  streams: boolean;
  /** How long it may take, restarts of its service included; milliseconds. */
  deadlineMs: number;
}

/** `functions` of `berth.functions.v1`. */
const ownerOf = (method: DescMethod): string => {
  const name = /^berth\.([a-z]+)\.v\d+\./.exec(method.parent.typeName)?.[1];
  if (!name)
    throw new Error(`${method.parent.typeName} has a route and is in no package berth.<service>.v<n>`);
  return name;
};

/** Every method of every contract. */
export const allMethods = (): DescMethod[] =>
  [...contracts()].flatMap((type) => (type.kind === 'service' ? type.methods : []));

/** Throws for a method that no door can serve: that is a mistake in the contract. */
export function publicMethods(): PublicMethod[] {
  return allMethods().flatMap((descriptor) => {
    const route = routeOf(descriptor);
    if (!route) return [];
    const grpcPath = `/${descriptor.parent.typeName}/${descriptor.name}`;
    if (descriptor.methodKind !== 'unary' && descriptor.methodKind !== 'server_streaming') {
      throw new Error(`${grpcPath} has a route, but REST cannot carry a stream of requests`);
    }
    return [
      {
        descriptor,
        grpcPath,
        peer: ownerOf(descriptor),
        route,
        httpStatus: httpStatusOf(descriptor),
        anonymous: accessOf(descriptor)?.anonymous ?? false,
        streams: descriptor.methodKind === 'server_streaming',
        deadlineMs: deadlineSecondsOf(descriptor) * 1000,
      },
    ];
  });
}
