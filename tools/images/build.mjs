#!/usr/bin/env node
// Makes the base image present: node tools/images/build.mjs [--rebuild] [--source=registry|debian] [--cache=DIR]
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import Docker from 'dockerode';
import { transform } from 'esbuild';

// Runs before any build: this one file imports only Node's own modules, so its types are all there is to remove.
const source = new URL('../../libs/container-engine/src/base-image.ts', import.meta.url);
const { code } = await transform(await readFile(source, 'utf8'), { loader: 'ts', format: 'esm' });
const { BASE_IMAGE, ensureBaseImages } = await import(`data:text/javascript,${encodeURIComponent(code)}`);

const { values } = parseArgs({
  options: {
    rebuild: { type: 'boolean', default: false },
    source: { type: 'string' },
    cache: { type: 'string', default: `${process.env.BERTH_DATA_DIR ?? '.berth'}/cache/images` },
  },
});

if (values.source && !['registry', 'debian'].includes(values.source)) {
  console.error('--source is registry or debian.');
  process.exit(2);
}

try {
  const reference = await ensureBaseImages(new Docker(), {
    log: (line) => console.log(line),
    cacheDir: values.cache,
    rebuild: values.rebuild,
    source: values.source,
  });
  console.log(`${BASE_IMAGE} is ${reference}`);
} catch (error) {
  const unreachable = ['ENOENT', 'ECONNREFUSED', 'EACCES'].includes(error.code);
  console.error(
    unreachable ? `No Docker Engine answers (${error.code}): start dockerd first.` : error.message,
  );
  process.exit(1);
}
