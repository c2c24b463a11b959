import { createHash } from 'node:crypto';
import { BerthError } from '@berth/service-kit';
import { readContainerfile } from './containerfile';
import { fullReference, refusedReference } from './image-reference';

/** What an image is, complete and checked; as it is stored. Files are trees of sync by now. */
export interface ImageDefinition {
  /** Empty: Berth's own base image, or a Containerfile. */
  base: string;
  steps: Step[];
  containerfile: string;
  /** The tree that a Containerfile's COPY names; empty: none. */
  context: string;
  registry_secret: string;
  /** Of that secret; empty where there is none. */
  environment: string;
}

export type Step =
  | { apt_install: { packages: string[] } }
  | { pip_install: PipInstall }
  | { npm_install: { packages: string[]; registry_url: string } }
  | { run_commands: { commands: string[] } }
  | { copy: { tree: string; to: string } }
  | { env: { variables: Record<string, string> } }
  | { workdir: { path: string } };

export interface PipInstall {
  packages: string[];
  requirements: string;
  index_url: string;
  extra_index_urls: string[];
  find_links: string[];
  pre: boolean;
}

/** What a caller gave: as it is stored, but for files, which are text or a tree. */
export interface GivenImage extends Omit<ImageDefinition, 'steps'> {
  steps: GivenStep[];
  files: Record<string, string>;
}

export type GivenStep =
  Exclude<Step, { copy: unknown }> | { copy: { tree: string; files: Record<string, string>; to: string } };

const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });

const STEPS_MAX = 100;
const LIST_MAX = 1000;
const TEXT_BYTES_MAX = 64 * 1024;
/** Of everything together, without files: what a runner is sent. Bytes. */
const DEFINITION_BYTES_MAX = 512 * 1024;
const SECRET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** As Debian names packages; `name=version`, `name:arch`, `name/suite`. */
const APT_PACKAGE = /^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?([=/][A-Za-z0-9.+:~-]+)?$/;
/** Not an option, and one line. */
const WORD = /^[^\s\0-][^\0\r\n]{0,1023}$/;
const NPM_PACKAGE = /^(@[a-z0-9~][\w.~-]*\/)?[a-z0-9~][\w.~-]*(@[\w.^~<>=|* -]+)?$/i;
const URL_LIKE = /^https?:\/\/[^\s\0'"]{1,2000}$/;
const PATH_LIKE = /^(?!-)[^\0-\x1f\x7f"'`$\\]{1,1000}$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Checks what was given, before any effect. Errors: `invalid` with the field at fault. */
export function checkImage(given: GivenImage): void {
  const { base, steps, containerfile, context, files, registry_secret, environment } = given;
  if (registry_secret && !SECRET_NAME.test(registry_secret)) {
    throw refuse('registry_secret', 'is not a name that a secret can have');
  }
  if (environment && !registry_secret) throw refuse('environment', 'is for a registry_secret alone');
  if (containerfile) {
    if (base) throw refuse('base', 'excludes containerfile: give one of them');
    if (steps.length > 0) throw refuse('steps', 'excludes containerfile: give one of them');
    if (context && Object.keys(files).length > 0) throw refuse('context', 'excludes files: give one of them');
    checkText('containerfile', containerfile);
    readContainerfile(containerfile);
  } else {
    if (context || Object.keys(files).length > 0) {
      throw refuse(context ? 'context' : 'files', 'is for a containerfile: use a copy step');
    }
    const why = base && refusedReference(base);
    if (why) throw refuse('base', why);
    if (steps.length > STEPS_MAX) throw refuse('steps', `has more than ${STEPS_MAX} steps`);
    steps.forEach((step, index) => checkStep(step, `steps[${index}]`));
  }
  if (Buffer.byteLength(JSON.stringify({ ...given, files: {} })) > DEFINITION_BYTES_MAX) {
    throw refuse('steps', `are larger than ${DEFINITION_BYTES_MAX} bytes: put files into a tree`);
  }
}

/** The images that a build begins with, of those that are not Berth's own. */
export const basesOfImage = ({ base, containerfile }: Pick<ImageDefinition, 'base' | 'containerfile'>) =>
  containerfile ? readContainerfile(containerfile).bases : base ? [fullReference(base)] : [];

/** What a node is given: nothing in it that could be read otherwise than it was checked. */
export const asBuilt = (definition: ImageDefinition): ImageDefinition => ({
  ...definition,
  base: fullReference(definition.base),
  containerfile: definition.containerfile && readContainerfile(definition.containerfile).text,
});

/** SHA-256 over the definition, in hex: what makes two images the same. */
export function contentHash(definition: ImageDefinition): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(definition)))
    .digest('hex');
}

/** With the keys of every object in one order. Lists stay as they are: the order of steps means something. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  );
}

function checkStep(step: GivenStep, at: string): void {
  if ('apt_install' in step) {
    checkList(`${at}.apt_install.packages`, step.apt_install.packages, APT_PACKAGE, 'a Debian package');
  } else if ('pip_install' in step) checkPip(step.pip_install, `${at}.pip_install`);
  else if ('npm_install' in step) {
    const { packages, registry_url } = step.npm_install;
    checkList(`${at}.npm_install.packages`, packages, NPM_PACKAGE, 'an npm package');
    checkUrls(`${at}.npm_install.registry_url`, registry_url ? [registry_url] : []);
  } else if ('run_commands' in step) {
    const field = `${at}.run_commands.commands`;
    checkSize(field, step.run_commands.commands);
    for (const command of step.run_commands.commands) {
      if (!command.trim()) throw refuse(field, 'has an empty command');
      checkText(field, command);
    }
  } else if ('copy' in step) {
    const { tree, files, to } = step.copy;
    const given = Object.keys(files).length > 0;
    if (tree && given) throw refuse(`${at}.copy.tree`, 'excludes files: give one of them');
    if (!tree && !given) throw refuse(`${at}.copy.files`, 'is missing: give {path: text}, or tree');
    if (!PATH_LIKE.test(to)) throw refuse(`${at}.copy.to`, 'is not a folder such as /app');
  } else if ('env' in step) checkVariables(step.env.variables, `${at}.env.variables`);
  else if (!PATH_LIKE.test(step.workdir.path)) {
    throw refuse(`${at}.workdir.path`, 'is not a folder such as /app');
  }
}

function checkPip(pip: PipInstall, at: string): void {
  if (pip.packages.length === 0 && !pip.requirements.trim()) {
    throw refuse(`${at}.packages`, 'is missing, and so is requirements');
  }
  if (pip.packages.length > 0) checkList(`${at}.packages`, pip.packages, WORD, 'a Python package');
  checkText(`${at}.requirements`, pip.requirements);
  checkUrls(`${at}.index_url`, pip.index_url ? [pip.index_url] : []);
  checkUrls(`${at}.extra_index_urls`, pip.extra_index_urls);
  checkUrls(`${at}.find_links`, pip.find_links);
}

function checkVariables(variables: Readonly<Record<string, string>>, field: string): void {
  const entries = Object.entries(variables);
  checkSize(field, entries);
  for (const [name, value] of entries) {
    if (!VARIABLE.test(name)) throw refuse(field, 'has a name that is not letters, digits and _');
    if (name.startsWith('BERTH_'))
      throw refuse(field, `may not set ${name}: BERTH_ names are the platform's`);
    if (/[\0\r\n]/.test(value)) throw refuse(field, `has a value with a line break in it (${name})`);
    checkText(field, value);
  }
}

function checkList(field: string, list: readonly string[], pattern: RegExp, what: string): void {
  checkSize(field, list);
  const wrong = list.find((each) => !pattern.test(each));
  if (wrong !== undefined)
    throw refuse(field, `has ${JSON.stringify(wrong.slice(0, 80))}, which is not ${what}`);
}

function checkUrls(field: string, urls: readonly string[]): void {
  if (urls.length > LIST_MAX) throw refuse(field, `has more than ${LIST_MAX} entries`);
  // Not repeated: people put passwords into such addresses.
  if (urls.some((url) => !URL_LIKE.test(url))) throw refuse(field, 'is not an http:// or https:// address');
  if (urls.some((url) => /^https?:\/\/[^/]*@/.test(url))) {
    throw refuse(field, 'has a password in it, which would stay in the image: leave it out');
  }
}

function checkSize(field: string, list: readonly unknown[]): void {
  if (list.length === 0) throw refuse(field, 'is empty');
  if (list.length > LIST_MAX) throw refuse(field, `has more than ${LIST_MAX} entries`);
}

function checkText(field: string, text: string): void {
  if (text.includes('\0')) throw refuse(field, 'has NUL in it');
  if (Buffer.byteLength(text) > TEXT_BYTES_MAX) throw refuse(field, `is larger than ${TEXT_BYTES_MAX} bytes`);
}
