/** The protobuf bytes of an answer to the body of a REST response. Compiled per method when the doors open. */
import { fieldIs } from '@berth/contracts';
import { fieldBytes, messageText } from '../codec/to-json';
import type { PublicMethod } from '../public-methods';

export interface Answer {
  contentType: string;
  /** Undefined for a status that has no body. */
  body(message: Uint8Array): string | Uint8Array | undefined;
}

const JSON_TYPE = 'application/json; charset=utf-8';

export function compileAnswer(method: PublicMethod): Answer {
  const { output } = method.descriptor;
  if (method.httpStatus === 204) return { contentType: '', body: () => undefined };

  const { responseBody } = method.route;
  if (responseBody === '') {
    const text = messageText(output);
    return { contentType: JSON_TYPE, body: (message) => text.of(message) };
  }
  const field = output.fields.find((each) => each.name === responseBody);
  if (!field)
    throw new Error(
      `${method.grpcPath}: response_body names ${responseBody}, which ${output.typeName} lacks`,
    );
  if (fieldIs(field, 'raw')) {
    return {
      contentType: 'application/octet-stream',
      body: (message) => fieldBytes(message, field.number) ?? Buffer.alloc(0),
    };
  }
  if (field.fieldKind !== 'message')
    throw new Error(`${method.grpcPath}: response_body is neither a message nor raw`);
  const text = messageText(field.message);
  return {
    contentType: JSON_TYPE,
    body(message) {
      const bytes = fieldBytes(message, field.number);
      return bytes ? text.of(bytes) : 'null';
    },
  };
}

/** One line of a stream. A document that is spliced in may hold line breaks, but only between its tokens. */
export function compileLine(method: PublicMethod): (message: Uint8Array) => string {
  const { output } = method.descriptor;
  const { responseBody } = method.route;
  const field = output.fields.find((each) => each.name === responseBody);
  if (responseBody && field?.fieldKind !== 'message')
    throw new Error(`${method.grpcPath}: a line is a message, and response_body names none`);
  const text = messageText(field?.message ?? output);
  return (message) => {
    const line = text.of(field ? (fieldBytes(message, field.number) ?? Buffer.alloc(0)) : message);
    return `${/[\n\r]/.test(line) ? line.replace(/[\n\r]/g, ' ') : line}\n`;
  };
}
