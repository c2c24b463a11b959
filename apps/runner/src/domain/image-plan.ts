/** How an image's definition becomes a Containerfile, and which of its instructions is which step. */
import type { ImageDefinition, ImageStep, PipInstall } from '@berth/contracts/functions/v1/images';

/** What this node's network asks of builds. None of it is a secret: it can be read in the image's history. */
export interface BuildNetwork {
  /** Certificates that downloads are checked against, as PEM; undefined where the images' own are enough. */
  certificates: string | undefined;
  pipIndexUrl: string | undefined;
  npmRegistryUrl: string | undefined;
}

export interface ImagePlan {
  containerfile: string;
  /** Folders of the build's context by name: the id of the tree that is there. */
  trees: Record<string, string>;
  files: Record<string, string>;
  /** The whole context; of a Containerfile. */
  context: string | undefined;
  /** The step that an instruction is of; undefined for what only prepares. */
  stepOf(instruction: number): number | undefined;
  /** In words, as logs and errors name it. */
  steps: string[];
}

const BASE_IMAGE = 'berth/base:stable';
/** Where the certificates are while it is built; nothing of it is in the image. */
const CERTIFICATES = '/berth-build/certificates.pem';
const CERTIFICATES_FILE = '.berth-certificates.pem';
const CERTIFICATE_VARIABLES = [
  'SSL_CERT_FILE',
  'PIP_CERT',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'NODE_EXTRA_CA_CERTS',
];
/** Fetched where an image has node without npm. */
const NPM_VERSION = '10.9.2';
const NPM_REGISTRY = 'https://registry.npmjs.org';
const TEXT_LENGTH_MAX = 200;

/** `nameOf` says under which name this node has a base. */
export function planImage(
  definition: ImageDefinition,
  network: BuildNetwork,
  nameOf: (base: string) => string,
): ImagePlan {
  return definition.containerfile
    ? planContainerfile(definition, nameOf)
    : planSteps(definition, network, nameOf);
}

function planContainerfile({ containerfile, context }: ImageDefinition, nameOf: (base: string) => string) {
  const named = containerfile
    .split('\n')
    .map((line) =>
      /^\s*FROM\s/i.test(line) || line.includes('--from=')
        ? line.replace(/(?<=\s|--from=)[^\s=]+/g, (word) => nameOf(word))
        : line,
    );
  return {
    containerfile: named.join('\n'),
    trees: {},
    files: {},
    context: context || undefined,
    stepOf: (instruction: number) => instruction,
    steps: [],
  };
}

function planSteps(
  { base, steps }: ImageDefinition,
  network: BuildNetwork,
  nameOf: (base: string) => string,
): ImagePlan {
  const instructions: { text: string; step: number | undefined }[] = [];
  const trees: Record<string, string> = {};
  const files: Record<string, string> = {};
  const prepare = (text: string) => instructions.push({ text, step: undefined });
  prepare(`FROM ${base ? nameOf(base) : BASE_IMAGE}`);
  const downloads = steps.some(({ step }) =>
    ['aptInstall', 'pipInstall', 'npmInstall', 'runCommands'].includes(step?.$case ?? ''),
  );
  if (steps.length > 0) prepare('USER 0:0');
  if (network.certificates && downloads) {
    files[CERTIFICATES_FILE] = network.certificates;
    prepare(`COPY ["${CERTIFICATES_FILE}", "${CERTIFICATES}"]`);
    for (const variable of CERTIFICATE_VARIABLES) prepare(`ARG ${variable}=${CERTIFICATES}`);
  }
  steps.forEach((step, index) => {
    const folder = `step-${index}`;
    if (step.step?.$case === 'copy') trees[folder] = step.step.value.tree;
    for (const text of instructionsOf(step, network, folder)) instructions.push({ text, step: index });
  });
  if (files[CERTIFICATES_FILE]) prepare(run('rm -rf /berth-build'));
  return {
    containerfile: instructions.map(({ text }) => `${text}\n`).join(''),
    trees,
    files,
    context: undefined,
    stepOf: (instruction) => instructions[instruction]?.step,
    steps: steps.map(wordsOf),
  };
}

/** A command as JSON: nothing in it means anything to the builder. */
const run = (command: string): string => `RUN ${JSON.stringify(['/bin/sh', '-c', command])}`;

const quoted = (words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');

function instructionsOf({ step }: ImageStep, network: BuildNetwork, folder: string): string[] {
  switch (step?.$case) {
    case 'aptInstall':
      return [run(aptInstall(step.value.packages))];
    case 'pipInstall':
      return [run(ENSURE_PIP), run(pipInstall(step.value, network))];
    case 'npmInstall': {
      const registry = step.value.registryUrl || network.npmRegistryUrl || NPM_REGISTRY;
      return [run(ensureNpm(registry)), run(npmInstall(step.value.packages, registry))];
    }
    case 'runCommands':
      return step.value.commands.map(run);
    case 'copy':
      return [`COPY ${JSON.stringify([`${folder}/`, `${step.value.to.replace(/\/+$/, '')}/`])}`];
    case 'env':
      return [
        `ENV ${Object.entries(step.value.variables)
          .map(([name, value]) => `${name}="${value.replaceAll(/["\\$]/g, '\\$&')}"`)
          .join(' ')}`,
      ];
    case 'workdir':
      return [`WORKDIR ${step.value.path}`];
    default:
      return [];
  }
}

const aptInstall = (packages: readonly string[]): string =>
  `apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ${quoted(packages)} && rm -rf /var/lib/apt/lists/*`;

const ENSURE_PIP = `if ! python3 -m pip --version >/dev/null 2>&1; then
  if command -v apt-get >/dev/null; then ${aptInstall(['python3-pip'])}
  else python3 -m ensurepip || { echo 'The image has no pip, and neither apt-get nor ensurepip to get it.' >&2; exit 1; }
  fi
fi`;

/** Debian marks its Python as its own, to spare people their system: an image has no other use for it. */
function pipInstall(
  { packages, requirements, indexUrl, extraIndexUrls, findLinks, pre }: PipInstall,
  { pipIndexUrl }: BuildNetwork,
): string {
  const index = indexUrl || pipIndexUrl;
  const options = [
    ...(index ? ['--index-url', index] : []),
    ...extraIndexUrls.flatMap((url) => ['--extra-index-url', url]),
    ...findLinks.flatMap((url) => ['--find-links', url]),
    ...(pre ? ['--pre'] : []),
    ...(requirements ? ['--requirement', REQUIREMENTS] : []),
    ...packages,
  ];
  const install = `PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install ${quoted(options)}`;
  if (!requirements) return install;
  return `printf '%s\\n' ${quoted([requirements])} > ${REQUIREMENTS} && ${install} && rm ${REQUIREMENTS}`;
}

const REQUIREMENTS = '/tmp/requirements.txt';

const ensureNpm = (registry: string): string => `if ! command -v npm >/dev/null; then
  mkdir -p /usr/local/lib/node_modules/npm /usr/local/bin &&
  NODE_USE_ENV_PROXY=1 node -e ${quoted([FETCH])} ${quoted([`${registry.replace(/\/+$/, '')}/npm/-/npm-${NPM_VERSION}.tgz`])} > /tmp/npm.tgz &&
  tar -xzf /tmp/npm.tgz -C /usr/local/lib/node_modules/npm --strip-components=1 && rm /tmp/npm.tgz &&
  ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
fi`;

const FETCH = `fetch(process.argv[1]).then(async (r) => { if (!r.ok) throw new Error(process.argv[1] + " answers " + r.status); process.stdout.write(Buffer.from(await r.arrayBuffer())); }).catch((e) => { console.error(String(e.cause ?? e)); process.exit(1); })`;

/** Found from the root, where `import` and `require` of a function's files look last. npm itself cannot work there. */
const npmInstall = (packages: readonly string[], registry: string): string =>
  `mkdir -p ${NPM_FOLDER} && cd ${NPM_FOLDER} && if [ ! -f package.json ]; then echo '{}' > package.json; fi && npm install --no-audit --no-fund --no-update-notifier --registry ${quoted([registry, ...packages])} && rm -rf /root/.npm && if [ ! -e /node_modules ]; then ln -s ${NPM_FOLDER}/node_modules /node_modules; fi`;

const NPM_FOLDER = '/opt/berth-npm';

/** A step as the definition names it, with what tells it from others of its kind. */
function wordsOf({ step }: ImageStep): string {
  const words = (() => {
    switch (step?.$case) {
      case 'aptInstall':
        return `apt_install ${step.value.packages.join(' ')}`;
      case 'pipInstall':
        return `pip_install ${[...step.value.packages, ...(step.value.requirements ? ['requirements'] : [])].join(' ')}`;
      case 'npmInstall':
        return `npm_install ${step.value.packages.join(' ')}`;
      case 'runCommands':
        return `run_commands ${step.value.commands.join(' && ')}`;
      case 'copy':
        return `copy to ${step.value.to}`;
      case 'env':
        return `env ${Object.keys(step.value.variables).join(' ')}`;
      case 'workdir':
        return `workdir ${step.value.path}`;
      default:
        return '';
    }
  })();
  return words.length > TEXT_LENGTH_MAX ? `${words.slice(0, TEXT_LENGTH_MAX)}…` : words;
}
