/**
 * What a Containerfile takes from elsewhere. The engine that builds it runs on the node itself, so what it fetches in its
 * own name, and what it finds in its store, has to be known before: see image-reference.
 */
import { BerthError } from '@berth/service-kit';
import { refusedReference } from './image-reference';

interface Instruction {
  /** In upper case. */
  name: string;
  rest: string;
}

const refuse = (why: string) =>
  new BerthError('invalid', `containerfile ${why}.`, { field: 'containerfile' });

/** The images that it begins with or copies from. Errors: `invalid`. */
export function basesOf(containerfile: string): string[] {
  const bases = new Set<string>();
  const variables = new Map<string, string>();
  const stages = new Set<string>();
  let count = 0;
  const take = (reference: string, instruction: string) => {
    const why = refusedReference(reference);
    if (why) throw refuse(`has ${instruction} ${reference}, which ${why}`);
    bases.add(reference);
  };
  for (const { name, rest } of instructionsOf(containerfile)) {
    if (count === 0 && name !== 'ARG' && name !== 'FROM') throw refuse('must begin with FROM');
    if (name === 'ARG' && count === 0) {
      const [, variable, value = ''] = /^([A-Za-z_]\w*)(?:=(.*))?$/.exec(rest) ?? [];
      if (!variable) throw refuse(`has ARG ${rest} before FROM, which is not NAME=value`);
      variables.set(variable, value.replace(/^(["'])(.*)\1$/, '$2'));
    } else if (name === 'FROM') {
      const [, image, , stage] = /^(?:--platform=\S+\s+)?(\S+)(\s+as\s+([a-z][\w.-]*))?$/i.exec(rest) ?? [];
      if (!image) throw refuse(`has FROM ${rest}, which is not FROM image [AS name]`);
      const reference = expand(image, variables);
      if (reference !== 'scratch' && !stages.has(reference.toLowerCase())) take(reference, 'FROM');
      if (stage) stages.add(stage.toLowerCase());
      count++;
    } else if (name === 'COPY' || name === 'ADD') {
      checkFlags(rest);
      if (name === 'ADD') checkAdd(rest);
      for (const [, from] of rest.matchAll(/(?:^|\s)--from=(\S+)/gi)) {
        const isStage = stages.has(from!.toLowerCase()) || (/^\d+$/.test(from!) && Number(from) < count);
        if (!isStage) take(from!, `${name} --from`);
      }
    }
  }
  if (count === 0) throw refuse('has no FROM');
  return [...bases];
}

/** Quotes and escapes could hide a flag. */
function checkFlags(rest: string): void {
  const flags = rest.split(/\s+/).filter((word) => word.startsWith('--'));
  const odd = flags.find((flag) => !/^--(from|chown|chmod)=[\w.\-/:@]+$/.test(flag));
  if (odd)
    throw refuse(`has ${odd.slice(0, 80)}, which is not --from, --chown or --chmod with a plain value`);
}

/** The engine would fetch it itself, from within the node's own network. */
function checkAdd(rest: string): void {
  if (rest.split(/\s+/).every((word) => /^(--chown=[\w:]+|[\w.\-/*?]+)$/.test(word))) return;
  throw refuse('has an ADD that is not of plain files: use COPY, or RUN with curl for what is elsewhere');
}

/** `$NAME`, `${NAME}` and `${NAME:-default}`, as FROM takes them from the ARGs before it. */
const expand = (text: string, variables: ReadonlyMap<string, string>): string =>
  text.replace(
    /\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})/g,
    (_, plain?: string, braced?: string, fallback?: string) =>
      variables.get(plain ?? braced ?? '') || fallback || '',
  );

/** Logical lines: comments are left out, and lines that go on are joined. */
function* instructionsOf(text: string): Generator<Instruction> {
  // An engine that reads lines or words otherwise than this does would see other instructions.
  if (/[^\S \t\r\n]/.test(text))
    throw refuse('has white space that is neither a blank, a tab nor a line end');
  if (/^\s*#\s*escape\s*=\s*(?!\\)/im.test(text)) throw refuse('sets another escape character than \\');
  let line = '';
  for (const physical of text.split(/\r?\n/)) {
    const trimmed = physical.trim();
    if (trimmed.startsWith('#') || (trimmed === '' && line !== '')) continue;
    line += physical;
    if (/\\[ \t]*$/.test(line)) {
      line = line.replace(/\\[ \t]*$/, '');
      continue;
    }
    const [, name, rest] = /^\s*([A-Za-z]+)\s+([^]*?)\s*$/.exec(line) ?? [];
    if (name) yield { name: name.toUpperCase(), rest: rest! };
    else if (line.trim()) throw refuse(`has a line that is no instruction: ${line.trim().slice(0, 80)}`);
    line = '';
  }
  if (line.trim()) throw refuse('ends in the middle of an instruction');
}
