/**
 * An exact reader of JSON text. It never goes through JavaScript numbers or objects, so a value that is only carried
 * (the arguments of a call) keeps every digit and every byte, and duplicate keys can be seen. Values that are carried
 * are walked without recursion: depth costs no stack.
 */
import { BerthError } from '@berth/service-kit';

/** Deeper than this, the interpreters that read arguments give up; so it is said here, before any effect. */
export const DEPTH_MAX = 500;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPED_OR_CONTROL = /[\\\u0000-\u001f]/;

export type JsonKind = 'object' | 'list' | 'string' | 'number' | 'boolean' | 'null';

export class Scanner {
  private at = 0;

  constructor(private readonly text: string) {}

  /** What the next value is, by its first character. Errors: `invalid` where no value begins. */
  kind(): JsonKind {
    switch (this.next()) {
      case OPEN_OBJECT:
        return 'object';
      case OPEN_LIST:
        return 'list';
      case QUOTE:
        return 'string';
      case 0x74: // t
      case 0x66: // f
        return 'boolean';
      case 0x6e: // n
        return 'null';
      default:
        if (!this.startsNumber()) throw this.malformed('a value');
        return 'number';
    }
  }

  /** Reads `{…}`: calls `member` with each key, which must read the value. */
  object(member: (key: string) => void): void {
    this.at += 1;
    if (this.next() === CLOSE_OBJECT) {
      this.at += 1;
      return;
    }
    for (;;) {
      if (this.next() !== QUOTE) throw this.malformed('a name in double quotes');
      const key = this.string();
      if (this.next() !== COLON) throw this.malformed("':'");
      this.at += 1;
      member(key);
      const after = this.next();
      this.at += 1;
      if (after === CLOSE_OBJECT) return;
      if (after !== COMMA) throw this.malformed("',' or '}'", this.at - 1);
    }
  }

  /** Reads `[…]`: calls `element` with each index, which must read the value. */
  list(element: (index: number) => void): void {
    this.at += 1;
    if (this.next() === CLOSE_LIST) {
      this.at += 1;
      return;
    }
    for (let index = 0; ; index += 1) {
      element(index);
      const after = this.next();
      this.at += 1;
      if (after === CLOSE_LIST) return;
      if (after !== COMMA) throw this.malformed("',' or ']'", this.at - 1);
    }
  }

  string(): string {
    const start = this.at + 1;
    let end = this.text.indexOf('"', start);
    while (end !== -1 && this.isEscaped(end, start)) end = this.text.indexOf('"', end + 1);
    if (end === -1) throw this.malformed("the closing '\"' of this text", this.at);
    const raw = this.text.slice(start, end);
    if (!ESCAPED_OR_CONTROL.test(raw)) {
      this.at = end + 1;
      return raw;
    }
    try {
      const value = JSON.parse(`"${raw}"`) as string;
      this.at = end + 1;
      return value;
    } catch {
      throw this.malformed('text without raw control characters or unknown escapes', this.at);
    }
  }

  /** The digits as they are written. */
  number(): string {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.text);
    if (!match) throw this.malformed('a number');
    this.at = NUMBER.lastIndex;
    const after = this.text.charCodeAt(this.at);
    if (isWordCharacter(after)) throw this.malformed('the end of a number');
    return match[0];
  }

  boolean(): boolean {
    if (this.literal('true')) return true;
    if (this.literal('false')) return false;
    throw this.malformed('true or false');
  }

  null(): void {
    if (!this.literal('null')) throw this.malformed('null');
  }

  /** Walks over one value of any kind and returns its text, byte for byte. */
  raw(): string {
    this.next();
    const start = this.at;
    /** The closers of what is open, innermost last. */
    const open: number[] = [];
    for (;;) {
      // A value begins here.
      const first = this.next();
      if (first === OPEN_OBJECT || first === OPEN_LIST) {
        if (open.length === DEPTH_MAX) {
          throw new BerthError(
            'invalid',
            `The JSON is nested deeper than ${DEPTH_MAX} levels: make it flatter.`,
          );
        }
        this.at += 1;
        const closer = first + 2;
        if (this.next() !== closer) {
          open.push(closer);
          if (first === OPEN_OBJECT) this.key();
          continue;
        }
        this.at += 1;
      } else {
        this.scalar();
      }
      // A value has ended here; so may what holds it.
      for (;;) {
        const closer = open.at(-1);
        if (closer === undefined) return this.text.slice(start, this.at);
        const after = this.next();
        this.at += 1;
        if (after === COMMA) {
          if (closer === CLOSE_OBJECT) this.key();
          break;
        }
        if (after !== closer) {
          throw this.malformed(closer === CLOSE_OBJECT ? "',' or '}'" : "',' or ']'", this.at - 1);
        }
        open.pop();
      }
    }
  }

  /** Errors: `invalid` when something follows the document. */
  end(): void {
    if (!Number.isNaN(this.next())) throw this.malformed('the end of the body');
  }

  private key(): void {
    if (this.next() !== QUOTE) throw this.malformed('a name in double quotes');
    this.string();
    if (this.next() !== COLON) throw this.malformed("':'");
    this.at += 1;
  }

  private scalar(): void {
    switch (this.kind()) {
      case 'string':
        this.string();
        return;
      case 'number':
        this.number();
        return;
      case 'boolean':
        this.boolean();
        return;
      default:
        this.null();
    }
  }

  /** The first character that is not white space, without taking it; NaN at the end. */
  private next(): number {
    let code = this.text.charCodeAt(this.at);
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
      this.at += 1;
      code = this.text.charCodeAt(this.at);
    }
    return code;
  }

  private startsNumber(): boolean {
    const code = this.text.charCodeAt(this.at);
    return code === 0x2d || (code >= 0x30 && code <= 0x39);
  }

  private isEscaped(quote: number, start: number): boolean {
    let backslashes = 0;
    for (let i = quote - 1; i >= start && this.text.charCodeAt(i) === BACKSLASH; i -= 1) backslashes += 1;
    return backslashes % 2 === 1;
  }

  private literal(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    if (isWordCharacter(this.text.charCodeAt(this.at + word.length))) return false;
    this.at += word.length;
    return true;
  }

  private malformed(expected: string, at = this.at): BerthError {
    const before = this.text.slice(0, at);
    const line = before.split('\n').length;
    const column = at - before.lastIndexOf('\n');
    const found = at < this.text.length ? `'${String.fromCodePoint(this.text.codePointAt(at)!)}'` : 'its end';
    return new BerthError(
      'invalid',
      `The body is not valid JSON at line ${line}, column ${column}: expected ${expected}, found ${found}.`,
    );
  }
}

const isWordCharacter = (code: number): boolean =>
  (code >= 0x30 && code <= 0x39) ||
  (code >= 0x41 && code <= 0x5a) ||
  (code >= 0x61 && code <= 0x7a) ||
  code === 0x5f;
