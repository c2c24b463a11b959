import type { DescEnum, DescField, DescFile, DescMessage, DescMethod } from '@bufbuild/protobuf';

/** What the contracts' authors wrote above a thing; empty when nothing. */
export function commentOf(descriptor: DescMessage | DescField | DescEnum | DescMethod): string {
  const { file, path } = placeOf(descriptor);
  return commentsOf(file).get(path.join('.')) ?? '';
}

const files = new WeakMap<DescFile, Map<string, string>>();

function commentsOf(file: DescFile): Map<string, string> {
  let comments = files.get(file);
  if (!comments) {
    comments = new Map(
      (file.proto.sourceCodeInfo?.location ?? []).map((location) => [
        location.path.join('.'),
        (location.leadingComments || location.trailingComments).replace(/^ /gm, '').trim(),
      ]),
    );
    files.set(file, comments);
  }
  return comments;
}

/** The place of a descriptor in its file, as descriptor.proto numbers it. */
function placeOf(descriptor: DescMessage | DescField | DescEnum | DescMethod): {
  file: DescFile;
  path: number[];
} {
  switch (descriptor.kind) {
    case 'rpc': {
      const { file, methods } = descriptor.parent;
      return { file, path: [6, file.services.indexOf(descriptor.parent), 2, methods.indexOf(descriptor)] };
    }
    case 'field': {
      const { file, path } = placeOf(descriptor.parent);
      return { file, path: [...path, 2, descriptor.parent.proto.field.indexOf(descriptor.proto)] };
    }
    case 'enum':
    case 'message': {
      const { file, parent } = descriptor;
      const isEnum = descriptor.kind === 'enum';
      if (parent) {
        const siblings: readonly unknown[] = isEnum ? parent.proto.enumType : parent.proto.nestedType;
        return { file, path: [...placeOf(parent).path, isEnum ? 4 : 3, siblings.indexOf(descriptor.proto)] };
      }
      const siblings: readonly unknown[] = isEnum ? file.proto.enumType : file.proto.messageType;
      return { file, path: [isEnum ? 5 : 4, siblings.indexOf(descriptor.proto)] };
    }
  }
}
