/**
 * What a Containerfile takes from elsewhere. The engine that builds it runs on the node itself, so what it fetches in its
 * own name, and what it finds in its store, has to be known before: see image-reference.
 */
import { BerthError } from '@berth/service-kit';
import { fullReference, refusedReference } from './image-reference';

interface Instruction {
  /** In upper case. */
  name: string;
  rest: string;
}

const refuse = (why: string) =>
  new BerthError('invalid', `containerfile ${why}.`, { field: 'containerfile' });

export interface ReadContainerfile {
  /** The images that it begins with or copies from. */
  bases: string[];
  /**
   * What was understood, written anew: one line an instruction, no comments, FROM and `--from` without variables, stages
   * named by number. An engine is given this alone: where it would read the user's text otherwise, nothing follows of it.
   */
  text: string;
}

/** Errors: `invalid`. */
export function readContainerfile(containerfile: string): ReadContainerfile {
  const bases = new Set<string>();
  const lines: string[] = [];
  const variables = new Map<string, string>();
  /** By name, in lower case: stages before the one that is being read, which cannot name itself. */
  const stages = new Map<string, string>();
  let current: string | undefined;
  let count = 0;
  const take = (reference: string, instruction: string) => {
    const why = refusedReference(reference);
    if (why) throw refuse(`has ${instruction} ${reference}, which ${why}`);
    const full = fullReference(reference);
    bases.add(full);
    return full;
  };
  for (const { name, rest } of instructionsOf(containerfile)) {
    if (count === 0 && name !== 'ARG' && name !== 'FROM') throw refuse('must begin with FROM');
    if (!INSTRUCTIONS.has(name)) throw refuse(`has ${name}, which images here cannot be made with`);
    if (/\\$/.test(rest)) throw refuse(`has a line that ends in a backslash: ${name} ${rest.slice(-80)}`);
    let written = rest;
    if (name === 'ARG' && count === 0) {
      const [, variable, value = ''] = ONE_ARGUMENT.exec(rest) ?? [];
      if (!variable) throw refuse(`has ARG ${rest} before FROM, which is not one NAME=value`);
      variables.set(variable, value.replace(/^(["'])(.*)\1$/, '$2'));
    } else if (name === 'FROM') {
      const [, platform = '', image, stage] = FROM.exec(rest) ?? [];
      if (!image) throw refuse(`has FROM ${rest}, which is not FROM image [AS name]`);
      if (current) stages.set(current, `stage-${count - 1}`);
      current = stage?.toLowerCase();
      if (current && stages.has(current)) throw refuse(`has two stages named ${stage}`);
      const reference = expand(image, variables);
      const from =
        stages.get(reference.toLowerCase()) ??
        (reference === 'scratch' ? reference : take(reference, 'FROM'));
      written = `${platform}${from} AS stage-${count}`;
      count++;
    } else if (name === 'COPY' || name === 'ADD') {
      checkFlags(rest);
      if (name === 'ADD') checkAdd(rest);
      written = rest.replace(/(?<=(?:^|\s)--from=)\S+/g, (from) => {
        const numbered = /^\d+$/.test(from) && Number(from) < count - 1 ? `stage-${Number(from)}` : undefined;
        return stages.get(from.toLowerCase()) ?? numbered ?? take(from, `${name} --from`);
      });
    } else if (name === 'RUN' && rest.startsWith('--')) {
      throw refuse(`has RUN ${rest.slice(0, 80)}, with an option: none is known here`);
    }
    if (/^(RUN|COPY|ADD)$/.test(name) && /(^|\s)\d*<<-?[^<\s]/.test(rest)) {
      throw refuse(`has ${name} with a here-document: put the text into a file, or use printf`);
    }
    lines.push(`${name} ${written}\n`);
  }
  if (count === 0) throw refuse('has no FROM');
  return { bases: [...bases], text: lines.join('') };
}

/** All but ONBUILD, whose instruction would be another image's, unread. */
const INSTRUCTIONS = new Set(
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
    ' ',
  ),
);
const ONE_ARGUMENT = /^([A-Za-z_]\w*)(?:=("[^"\\$]*"|'[^'\\$]*'|[^\s"'\\$]*))?$/;
const FROM = /^(--platform=[\w./-]+\s+)?(\S+)(?:\s+as\s+([a-z][\w.-]*))?$/i;

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
  if (/[^\S \t\r\n]|\r(?!\n)|[\0-\x08\x0e-\x1f\x7f-\x9f]/.test(text))
    throw refuse('has white space or a control character that is neither a blank, a tab nor a line end');
  if (/^\s*#\s*escape\s*=\s*(?!\\)/im.test(text)) throw refuse('sets another escape character than \\');
  let line = '';
  for (const physical of text.split(/\r?\n/)) {
    const trimmed = physical.trim();
    if (trimmed.startsWith('#') || (trimmed === '' && line !== '')) continue;
    // Engines differ in whether such a line goes on.
    if (/\\\\[ \t]*$/.test(physical)) {
      throw refuse(`has a line that ends in several backslashes: ${trimmed.slice(-80)}`);
    }
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
