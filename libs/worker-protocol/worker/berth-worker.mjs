/**
 * Berth's Node worker: runs one function inside a container, on Node 20 or newer with nothing installed
 * (TypeScript from 22.18 on, where Node itself strips types).
 *
 * It connects to its runner, says hello with the run token, loads `module:function` from the source folder, and
 * then answers inputs until it is told to stop. The frames are described in the README of libs/worker-protocol.
 *
 * As many inputs run at a time as the start says. User code hears of a cancel by the signal of its input,
 * `berth.context().signal`; an input ends when its handler does, and the runner ends what does not heed.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import module from 'node:module';
import { connect } from 'node:net';
import { extname, join, resolve as resolvePath } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';

const LOG_BYTES_MAX = 65536;
const COPY_BYTES_MAX = 65536;
const MESSAGE_LENGTH_MAX = 16 * 1024;
const TRACEBACK_LENGTH_MAX = 128 * 1024;
const NAMES_MAX = 20;
// How far a generator may be ahead of what is recorded of it.
const AHEAD_ITEMS_MAX = 32;
const AHEAD_BYTES_MAX = 1024 * 1024;
const CHECK_MS_MAX = 5000;
const EXTENSIONS = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];

const WORKER_FILE = fileURLToPath(import.meta.url);
const exit = process.exit.bind(process);

/** Its name is what the caller sees as the error's type. */
class WorkerError extends Error {
  constructor(type, message) {
    super(message);
    this.name = type;
  }
}

const cancellation = () => new WorkerError('InputCancellation', 'the input was cancelled');

// ---- frames

const address = process.env.BERTH_SOCKET ?? '';
const tcp = /^tcp:\/\/\[?(.+?)\]?:(\d+)$/.exec(address);
const socket = tcp
  ? connect({ host: tcp[1], port: Number(tcp[2]), noDelay: true })
  : connect({ path: address });
let frameBytesMax = 64 * 1024 * 1024;

/** One write per frame: small payloads are copied behind their header, large ones are not copied. */
function send(header, payload) {
  const headerText = JSON.stringify(header);
  const headerBytes = Buffer.byteLength(headerText);
  const payloadBytes = payload === undefined ? 0 : Buffer.byteLength(payload);
  const isCopied = payloadBytes <= COPY_BYTES_MAX;
  const frame = Buffer.allocUnsafe(8 + headerBytes + (isCopied ? payloadBytes : 0));
  frame.writeUInt32BE(4 + headerBytes + payloadBytes, 0);
  frame.writeUInt32BE(headerBytes, 4);
  frame.write(headerText, 8);
  if (!isCopied) {
    socket.cork();
    socket.write(frame);
    socket.write(payload);
    socket.uncork();
    return;
  }
  if (typeof payload === 'string') frame.write(payload, 8 + headerBytes);
  else if (payload) frame.set(payload, 8 + headerBytes);
  socket.write(frame);
}

let gathered = Buffer.alloc(0);
let gatheredBytes = 0;

/** Calls `take(header, payload)` for each frame that `chunk` completes. The runner is trusted with its lengths. */
function receive(chunk, take) {
  if (gatheredBytes > 0) {
    if (gatheredBytes + chunk.byteLength > gathered.byteLength) {
      const larger = Buffer.allocUnsafeSlow(2 * (gatheredBytes + chunk.byteLength));
      gathered.copy(larger, 0, 0, gatheredBytes);
      gathered = larger;
    }
    chunk.copy(gathered, gatheredBytes);
    gatheredBytes += chunk.byteLength;
    if (gatheredBytes < 8 || gatheredBytes < 4 + gathered.readUInt32BE(0)) return;
    chunk = gathered.subarray(0, gatheredBytes);
    gathered = Buffer.alloc(0);
    gatheredBytes = 0;
  }
  let at = 0;
  while (chunk.byteLength - at >= 8) {
    const end = at + 4 + chunk.readUInt32BE(at);
    if (chunk.byteLength < end) break;
    const headerEnd = at + 8 + chunk.readUInt32BE(at + 4);
    take(JSON.parse(chunk.toString('utf8', at + 8, headerEnd)), chunk.subarray(headerEnd, end));
    at = end;
  }
  if (at < chunk.byteLength) {
    gathered = Buffer.from(chunk.subarray(at));
    gatheredBytes = gathered.byteLength;
  }
}

// ---- what user code prints

const inputs = new AsyncLocalStorage();
const logs = [];

/** process.stdout and process.stderr: sends lines as log frames with the input that they were written in. */
class LogStream extends Writable {
  #name;
  #held = [];
  #heldBytes = 0;
  #heldFor = null;

  constructor(name, fd) {
    super({ decodeStrings: true, highWaterMark: 1 << 20 });
    this.#name = name;
    this.fd = fd;
    logs.push(this);
  }

  _write(chunk, _encoding, done) {
    const inputId = inputs.getStore()?.id ?? null;
    if (this.#heldBytes > 0 && this.#heldFor !== inputId) this.sendHeld();
    const end = chunk.lastIndexOf(10) + 1;
    if (end > 0) {
      const lines =
        this.#heldBytes > 0 ? Buffer.concat([...this.#held, chunk.subarray(0, end)]) : chunk.subarray(0, end);
      this.#held = [];
      this.#heldBytes = 0;
      this.#send(lines, inputId);
    }
    if (end < chunk.byteLength) {
      this.#held.push(chunk.subarray(end));
      this.#heldBytes += chunk.byteLength - end;
      this.#heldFor = inputId;
      if (this.#heldBytes >= LOG_BYTES_MAX) this.sendHeld();
    }
    done();
  }

  // User code that ends its standard output must not take the next input's.
  end() {
    this.sendHeld();
    return this;
  }

  _destroy(_error, done) {
    done();
  }

  destroy() {
    return this;
  }

  sendHeld() {
    if (this.#heldBytes === 0) return;
    const lines = Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    this.#send(lines, this.#heldFor);
  }

  #send(lines, inputId) {
    for (let at = 0; at < lines.byteLength;) {
      let end = Math.min(at + LOG_BYTES_MAX, lines.byteLength);
      // Not in the middle of a character.
      while (end < lines.byteLength && end > at + LOG_BYTES_MAX - 4 && (lines[end] & 0xc0) === 0x80) end--;
      send({ type: 'log', stream: this.#name, input_id: inputId }, lines.subarray(at, end));
      at = end;
    }
  }
}

const flushLogs = () => logs.forEach((log) => log.sendHeld());

// ---- loading the handler

let source = '';
let handler;
let isWeb = false; // The handler takes the sessions of web requests.
let loading; // The file of the handler's module, once it is found.

/** The function that `module:function` names. Throws what the user's module throws, or HandlerNotFound. */
async function load(name) {
  const [, modulePath, path] = /^([^:]+):([^:]+)$/.exec(name) ?? [];
  if (!modulePath) {
    throw new WorkerError(
      'HandlerNotFound',
      `the handler is "${name}"; it must be "module:function", for example "main:hello"`,
    );
  }
  const file = findModule(name, modulePath);
  if (/\.[mc]?ts$/.test(file) && !process.features.typescript) {
    throw new WorkerError(
      'HandlerNotFound',
      `${inside(file)} is TypeScript, which Node ${process.versions.node} does not run: use Node 22.18 or newer, or compile it`,
    );
  }
  loading = file;
  offerSdk();
  const loaded = await import(pathToFileURL(file).href);
  const named = valueAt(loaded, path);
  const onDefault = valueAt(loaded.default, path);
  // The names of a CommonJS module are copies: `this` is the object that it exported.
  const found = onDefault && (!named || named.value === onDefault.value) ? onDefault : named;
  if (typeof found?.value !== 'function') {
    const names = new Set([...functionsOf(loaded), ...functionsOf(loaded.default)]);
    const shown = [...names].sort().slice(0, NAMES_MAX).join(', ') + (names.size > NAMES_MAX ? ', ...' : '');
    throw new WorkerError(
      'HandlerNotFound',
      found
        ? `"${name}" is of type ${typeof found.value}, which cannot be called`
        : `the handler is "${name}", but ${inside(file)} exports no such function; it has: ${shown || 'no functions at all'}`,
    );
  }
  if (!process.env.BERTH_WEB && /^class\b/.test(Function.prototype.toString.call(found.value))) {
    return enter(found.value);
  }
  return found.value.bind(found.owner);
}

let instance; // Where the handler is a class: the one object of this container.

/** Makes and enters the object; to what calls its public methods by name. */
async function enter(Class) {
  instance = new Class(parameters);
  await instance.enter?.();
  const names = new Set();
  for (let type = Class.prototype; type !== Object.prototype; type = Object.getPrototypeOf(type)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(type))) {
      if (typeof value === 'function' && !name.startsWith('_')) names.add(name);
    }
  }
  for (const hook of ['constructor', 'enter', 'exit']) names.delete(hook);
  return (...given) => {
    const name = inputs.getStore().method ?? (names.size === 1 ? [...names][0] : undefined);
    if (names.has(name)) return instance[name](...given);
    const why = name ? `there is no method "${name}"` : 'a call of a class names a method';
    const has = [...names].sort().join(', ') || 'no methods';
    throw new WorkerError('MethodNotFound', `${why}; ${Class.name} has: ${has}`);
  };
}

/** `@berth/sdk` is there without being installed; one that the source or the image brings along comes first. */
function offerSdk() {
  const own = join(WORKER_FILE, '../lib/sdk.mjs');
  if (!module.registerHooks || !existsSync(own)) return;
  module.registerHooks({
    resolve(specifier, context, next) {
      if (specifier !== '@berth/sdk') return next(specifier, context);
      try {
        return next(specifier, context);
      } catch {
        return { url: pathToFileURL(own).href, shortCircuit: true };
      }
    },
  });
}

/** `pkg.sub` and `pkg/sub` name the same file. */
function findModule(name, modulePath) {
  const base = resolvePath(source, modulePath);
  const dotted = resolvePath(source, modulePath.replaceAll('.', '/'));
  const isFile = (path) => existsSync(path) && statSync(path).isFile();
  const candidates = [base, dotted].flatMap((stem) => [
    ...EXTENSIONS.map((extension) => stem + extension),
    ...EXTENSIONS.map((extension) => join(stem, `index${extension}`)),
  ]);
  const file = [base, ...candidates].find((path) => path.startsWith(source + '/') && isFile(path));
  if (file) return file;
  const entries = existsSync(source) ? readdirSync(source).filter((entry) => !entry.startsWith('.')) : [];
  const shown = entries.sort().slice(0, NAMES_MAX).join(', ') + (entries.length > NAMES_MAX ? ', ...' : '');
  throw new WorkerError(
    'HandlerNotFound',
    `the handler is "${name}", but there is no module ${modulePath}.ts, .js, .mjs or .cjs in the source; it has: ${shown || 'no files'}`,
  );
}

/** What lies at a dotted path and the object it was taken from; undefined where nothing does. */
function valueAt(root, path) {
  let owner;
  let value = root;
  for (const name of path.split('.')) {
    if (value === null || value === undefined || !(name in Object(value))) return undefined;
    owner = value;
    value = value[name];
  }
  return { owner, value };
}

const functionsOf = (exports) =>
  Object.entries(exports ?? {}).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));

// ---- one input

const running = new Map(); // By id, {id, callId, attempt, began, aborter, end(error)}: the inputs that run.
let slots = 1;
let parameters = {};
let isStopping = false;
let isLeaving = false; // process.exit was called in user code and its last words are on their way.
const waiting = [];

function next() {
  if (isLeaving) return;
  if (isStopping && running.size === 0) return void leave(0);
  while (!isStopping && waiting.length > 0 && openSlots() > 0) begin(...waiting.shift());
}

/** A batch counts as one input. */
const openSlots = () => (running.size === 0 ? slots : slots - new Set(running.values()).size);

/** The input that code without a context of its own must be of; undefined where that is open. */
function onlyInput() {
  const all = new Set(running.values());
  return all.size === 1 ? all.values().next().value : undefined;
}

function begin(header, payload) {
  if (header.type === 'batch') runBatch(header, payload);
  else void run(header, payload);
}

async function run(header, payload) {
  const input = newInput(header);
  running.set(input.id, input);
  let args;
  let error;
  try {
    args = isWeb ? readSession(header, payload) : readArguments(header, payload);
  } catch (thrown) {
    error = { thrown };
  }
  const ended = error ? { error, run_us: 0 } : await call(input, args);
  if (isLeaving) return;
  flushLogs();
  finish(input, ended.value, ended.error, ended.run_us, ended);
  running.delete(input.id);
  if (waiting.length > 0 || isStopping) next();
}

const newInput = (header) => ({
  id: header.input_id,
  callId: header.call_id,
  attempt: header.attempt,
  began: process.hrtime.bigint(),
  aborter: undefined,
  isCancelled: false,
  end: undefined,
  batch: undefined,
  method: undefined,
  // Of a generator: sizes of items that are not recorded yet, and who waits for room.
  ahead: undefined,
  onRoom: undefined,
});

/** Runs the handler in the name of `input`; to what it gave or threw, and how long it took. */
async function call(input, { args, kwargs, method }) {
  input.method = method;
  // What ends an input other than its own return: an uncaught exception, process.exit.
  const ended = new Promise((_, reject) => (input.end = reject));
  ended.catch(() => {});
  const spent = () => Number((process.hrtime.bigint() - input.began) / 1000n);
  input.began = process.hrtime.bigint();
  try {
    const called = inputs.run(input, callHandler, args, kwargs);
    const value = isThenable(called) ? await Promise.race([called, ended]) : called;
    if (isGenerator(value) && !input.batch) {
      const count = await Promise.race([inputs.run(input, streamItems, input, value), ended]);
      return { value: count, format: 'items', run_us: spent() };
    }
    return { value, run_us: spent() };
  } catch (thrown) {
    return { error: { thrown }, run_us: spent() };
  }
}

/** Sends what a generator yields, item by item, and stands still while it is too far ahead; to how many there were. */
async function streamItems(input, generator) {
  input.ahead = { sizes: [], bytes: 0 };
  let index = 0;
  try {
    for await (const item of generator) {
      const encoded = encodeResult(item);
      const bytes = Buffer.byteLength(encoded);
      input.ahead.sizes.push(bytes);
      input.ahead.bytes += bytes;
      send(
        { type: 'item', input_id: input.id, attempt: input.attempt, index: index++, format: 'json' },
        encoded,
      );
      while (isAhead(input) && !input.isCancelled) await new Promise((resolve) => (input.onRoom = resolve));
      // Thrown in where it yielded, so that it can clean up.
      if (input.isCancelled) await generator.throw(cancellation());
    }
  } finally {
    input.ahead = undefined;
  }
  return index;
}

const isAhead = ({ ahead }) => ahead.sizes.length >= AHEAD_ITEMS_MAX || ahead.bytes >= AHEAD_BYTES_MAX;

function recorded(input, count) {
  if (!input?.ahead) return;
  for (const bytes of input.ahead.sizes.splice(0, count)) input.ahead.bytes -= bytes;
  input.onRoom?.();
}

/** Tells how an input ended. */
function finish(input, value, error, run_us, { ofBatch, format = 'json' } = {}) {
  let encoded;
  if (!error) {
    try {
      encoded = encodeResult(value);
    } catch (thrown) {
      error = { thrown };
    }
  }
  // What a cancelled input makes of its cancellation is its own affair, but for the error that says so.
  if (input.isCancelled && error?.thrown?.name === 'AbortError') error = { thrown: cancellation() };
  const outcome = { type: 'success', input_id: input.id, attempt: input.attempt, run_us };
  if (!error) send({ ...outcome, format }, encoded);
  else send({ ...outcome, type: 'failure', error: describe(error.thrown), of_batch: ofBatch });
}

/**
 * Runs inputs by one call of the handler for all that give the same arguments: each argument is a list, and so is the
 * result. An element that is an Error fails its input and no other.
 */
function runBatch({ inputs: headers }, payload) {
  const byShape = new Map();
  let at = 0;
  for (const header of headers) {
    const input = newInput(header);
    const part = payload.subarray(at, (at += header.bytes));
    try {
      const { args, kwargs, method } = readArguments(header, part);
      const shape = JSON.stringify([method, args.length, Object.keys(kwargs ?? {}).sort()]);
      if (!byShape.has(shape)) byShape.set(shape, []);
      byShape.get(shape).push({ input, args, kwargs, method });
    } catch (thrown) {
      finish(input, undefined, { thrown }, 0);
    }
  }
  for (const members of byShape.values()) void runMembers(members);
}

async function runMembers(members) {
  const [first] = members;
  // Those that still want an outcome. Who takes one out says how it ended.
  const batch = new Map(members.map(({ input }) => [input.id, input]));
  // User code sees one input, the first of the batch, whose signal aborts when nobody wants the result any more.
  const lead = { ...first.input, batch };
  for (const { input } of members) running.set(input.id, lead);
  const args = first.args.map((_, index) => members.map((member) => member.args[index]));
  const names = first.kwargs && Object.keys(first.kwargs);
  const kwargs =
    names && Object.fromEntries(names.map((name) => [name, members.map((member) => member.kwargs[name])]));
  const { value, error: raised, run_us } = await call(lead, { args, kwargs, method: first.method });
  if (isLeaving) return;
  flushLogs();
  const count = members.length;
  let error = raised;
  if (!error && (!Array.isArray(value) || value.length !== count)) {
    const got = Array.isArray(value) ? `an array of ${value.length}` : `something of type ${typeof value}`;
    const message = `a batch of ${count} inputs needs an array of ${count} results; the function returned ${got}`;
    error = { thrown: new WorkerError('BatchResultInvalid', message) };
  }
  // Which input the handler threw for it does not say: the runner runs each alone.
  const ofBatch = raised && !lead.isCancelled && count > 1 ? count : undefined;
  for (const [index, { input }] of members.entries()) {
    running.delete(input.id);
    if (!batch.delete(input.id)) continue;
    input.isCancelled = lead.isCancelled;
    const own = !error && value[index] instanceof Error ? { thrown: value[index] } : error;
    finish(input, own ? undefined : value[index], own, run_us, { ofBatch });
  }
  if (waiting.length > 0 || isStopping) next();
}

function readSession(header, payload) {
  if (header.format !== 'web') {
    throw new WorkerError(
      'NotCallable',
      'this function answers web requests: call its web_url, or deploy it without web',
    );
  }
  return { args: [JSON.parse(payload.toString()).session] };
}

function cancel(input, id) {
  if (input.isCancelled) return; // Asked again.
  const { batch } = input;
  if (batch && !batch.has(id)) return;
  if (batch && batch.size > 1) {
    // The others want their results still: this one ends now.
    const left = batch.get(id);
    batch.delete(id);
    return finish(left, undefined, { thrown: cancellation() }, 0);
  }
  input.isCancelled = true;
  input.aborter?.abort(cancellation());
  input.onRoom?.();
}

/** What user code can know of the input that it runs: `globalThis.berth.context()`. */
function context() {
  const input = inputs.getStore();
  if (!input) throw new Error('berth.context() is of code that runs for an input: none does here');
  if (!input.aborter) {
    input.aborter = new AbortController();
    if (input.isCancelled) input.aborter.abort(cancellation());
  }
  return {
    inputId: input.id,
    callId: input.callId,
    attempt: input.attempt,
    signal: input.aborter.signal,
  };
}

const isThenable = (value) => typeof value === 'object' && value !== null && typeof value.then === 'function';

function callHandler(args, kwargs) {
  return kwargs ? handler(...args, kwargs) : handler(...args);
}

/** The positional arguments, and the keyword arguments where there are any: they become one last object. */
function readArguments(header, payload) {
  if (header.format !== 'json') {
    throw new WorkerError(
      'FormatNotSupported',
      `this worker reads arguments as json, not as ${header.format}`,
    );
  }
  if (payload.byteLength === 0) return { args: [] };
  let values;
  try {
    values = JSON.parse(payload.toString());
  } catch (error) {
    throw new WorkerError('ArgumentsNotReadable', `the arguments cannot be read: ${error.message}`);
  }
  const args = values?.args ?? [];
  const kwargs = values?.kwargs ?? {};
  const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(values) || !Array.isArray(args) || !isObject(kwargs)) {
    throw new WorkerError(
      'ArgumentsNotReadable',
      'the arguments cannot be read: not of the form {"args": [...], "kwargs": {...}}',
    );
  }
  const { method } = values;
  if (method && !instance) {
    throw new WorkerError('MethodNotFound', 'a method is called of a class, and this function is none');
  }
  for (const _ in kwargs) return { args, kwargs, method };
  return { args, method };
}

// ---- results

/** JSON of a result. A function that returns nothing returns null, as in Python. */
function encodeResult(value) {
  if (value === undefined) return 'null';
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw notSerializable(
      culprit(value) ??
        (error instanceof RangeError ? 'the result is nested too deeply for JSON' : error.message),
    );
  }
  // JSON.stringify loses some values without a word; what they leave behind says whether to look closer.
  if (text === undefined || /null|\{\}|\\ud[89a-f]/.test(text)) {
    const problem = culprit(value);
    if (problem) throw notSerializable(problem);
  }
  const bytes = Buffer.byteLength(text);
  const bytesMax = frameBytesMax - 4096;
  if (bytes > bytesMax) {
    throw new WorkerError(
      'ResultTooLarge',
      `the result is ${bytes} bytes of JSON; at most ${bytesMax} may be returned. Return less, or write it to a volume and return its path`,
    );
  }
  return text;
}

const notSerializable = (message) => new WorkerError('ResultNotSerializable', message);

const isGenerator = (value) => /^\[object (Async)?Generator\]$/.test(Object.prototype.toString.call(value));

/** Which part of a value JSON cannot carry, and what to do; undefined where there is none. */
function culprit(root) {
  // Iterators, not recursion: a value may be deeper than the stack. `way` is the keys that led here.
  const levels = [[[undefined, root]].values()];
  const above = [];
  const way = [];
  while (levels.length > 0) {
    const step = levels.at(-1).next();
    if (step.done) {
      levels.pop();
      above.pop();
      continue;
    }
    const [key, value] = step.value;
    way.length = levels.length - 1;
    way.push(key);
    if (typeof value === 'object' && value !== null && typeof value.toJSON !== 'function') {
      if (above.includes(value)) return `${place(way)} contains itself: a circle cannot be written as JSON`;
      const problem = problemOfObject(value);
      if (problem) return `${place(way)} ${problem}`;
      above.push(value);
      levels.push(Array.isArray(value) ? value.entries() : Object.entries(value).values());
      continue;
    }
    const problem = problemOf(value);
    if (problem) return `${place(way)} ${problem}`;
  }
  return undefined;
}

const place = (way) =>
  'result' +
  way
    .slice(1)
    .map((key) => `[${JSON.stringify(key).slice(0, 80)}]`)
    .join('');

function problemOf(value) {
  if (typeof value === 'bigint')
    return 'is a BigInt, which JSON cannot carry. Return String(...) or Number(...) of it';
  if (typeof value === 'function' || typeof value === 'symbol')
    return `is a ${typeof value}, which JSON cannot carry`;
  if (typeof value === 'number' && !Number.isFinite(value)) {
    return `is ${value}, which JSON cannot carry. Return null, or a string`;
  }
  if (typeof value === 'string' && !(value.isWellFormed?.() ?? true)) {
    return 'is text with a lone surrogate, which is not valid Unicode';
  }
  return undefined;
}

function problemOfObject(value) {
  const hints = [
    [Map, 'Return Object.fromEntries(...) of it'],
    [Set, 'Return an array of it'],
    [Promise, 'Await it'],
    [Error, 'Throw it, or return its message'],
    [RegExp, 'Return its source'],
    [ArrayBuffer, 'Return base64 text of it'],
  ];
  for (const [type, hint] of hints) {
    if (value instanceof type && Object.keys(value).length === 0) {
      return `is of type ${type.name}, which JSON cannot carry. ${hint}`;
    }
  }
  if (isGenerator(value)) return 'is a generator, which JSON cannot carry. Return an array of it';
  return undefined;
}

// ---- errors

/** `{type, message, traceback}` of whatever was thrown, without the worker's and Node's own frames. */
function describe(thrown) {
  try {
    if (thrown instanceof WorkerError) {
      return { type: thrown.name, message: cut(thrown.message, MESSAGE_LENGTH_MAX), traceback: '' };
    }
    if (!isErrorLike(thrown)) {
      const text = typeof thrown === 'string' ? thrown : (safeJson(thrown) ?? String(thrown));
      return { type: typeof thrown, message: cut(text, MESSAGE_LENGTH_MAX), traceback: '' };
    }
    return {
      type: String(thrown.constructor?.name || thrown.name || 'Error'),
      message: cut(String(thrown.message), MESSAGE_LENGTH_MAX),
      traceback: cut(tracebackOf(thrown, new Set()), TRACEBACK_LENGTH_MAX),
    };
  } catch {
    return { type: 'Error', message: 'the error could not be described', traceback: '' };
  }
}

// Not only instanceof: errors come from other contexts too.
const isErrorLike = (value) =>
  typeof value === 'object' &&
  value !== null &&
  typeof value.message === 'string' &&
  typeof value.stack === 'string';

function safeJson(value) {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function tracebackOf(error, seen) {
  seen.add(error);
  const lines = error.stack.split('\n');
  // Frames of the user's, or of a package; the head may have several lines, and says where a SyntaxError is.
  const kept = lines.filter((line) => {
    if (!/^\s+at /.test(line)) return true;
    return (
      !line.includes(WORKER_FILE) && !/\(?node:|\(<anonymous>\)$|at new Promise|at async Promise/.test(line)
    );
  });
  const text = withoutSource(kept.join('\n'));
  const parts = [codeAt(kept) + text];
  if (isErrorLike(error.cause) && !seen.has(error.cause))
    parts.push(`[cause]: ${tracebackOf(error.cause, seen)}`);
  for (const inner of Array.isArray(error.errors) ? error.errors : []) {
    if (isErrorLike(inner) && !seen.has(inner)) parts.push(`[errors]: ${tracebackOf(inner, seen)}`);
  }
  return parts.join('\n');
}

/** The source line of the user's innermost frame, with a mark below, as Node prints it for an uncaught error. */
function codeAt(kept) {
  for (const line of kept) {
    const [, url, row, column] = /^\s+at .*?((?:file:\/\/)?\/[^()]*?):(\d+):(\d+)\)?$/.exec(line) ?? [];
    if (!url) continue;
    const file = url.startsWith('file:') ? fileURLToPath(url) : url;
    if (!file.startsWith(source + '/')) continue;
    try {
      const code = readFileSync(file, 'utf8').split('\n')[Number(row) - 1];
      if (code === undefined || code.length > 400) return '';
      return `${inside(file)}:${row}\n${code}\n${' '.repeat(Number(column) - 1)}^\n`;
    } catch {
      return '';
    }
  }
  return '';
}

/** The names the user knows: relative to the source folder. */
const withoutSource = (text) =>
  text.replaceAll(pathToFileURL(source).href + '/', '').replaceAll(source + '/', '');

const inside = (file) => (file.startsWith(source + '/') ? file.slice(source.length + 1) : file);

function cut(text, lengthMax) {
  const whole = text.toWellFormed?.() ?? text;
  if (whole.length <= lengthMax) return whole;
  const half = lengthMax / 2;
  return `${whole.slice(0, half)}\n... ${whole.length - 2 * half} characters left out ...\n${whole.slice(-half)}`;
}

// ---- user code that leaves the straight path

/** An exception nobody caught ends the input that it belongs to; without one it is only printed. */
function onUncaught(thrown) {
  const input = inputs.getStore() ?? onlyInput();
  if (input && running.get(input.id) === input) return input.end(thrown);
  const { type, message, traceback } = describe(thrown);
  console.error(`uncaught exception outside an input: ${traceback || `${type}: ${message}`}`);
}

/**
 * process.exit in user code: the input fails and says so, then the process really ends. It ends within this call
 * where the socket takes the last frame at once; else user code is unwound, and the process ends once it is sent.
 */
function onExitCalled(code = process.exitCode ?? 0) {
  if (isLeaving) throw new WorkerError('ProcessExit', 'process.exit was called');
  isLeaving = true;
  flushLogs();
  const message = `user code called process.exit(${code})`;
  const error = { type: 'ProcessExit', message, traceback: '' };
  const input = inputs.getStore() ?? onlyInput();
  if (input && running.get(input.id) === input) {
    const run_us = Number((process.hrtime.bigint() - input.began) / 1000n);
    for (const { id, attempt } of input.batch?.values() ?? [input]) {
      send({ type: 'failure', input_id: id, attempt, error, run_us });
    }
  } else if (!handler) {
    send({ type: 'init_failed', error });
  }
  if (socket.writableLength === 0) exit(code);
  socket.end(() => exit(code));
  throw new WorkerError('ProcessExit', message);
}

/** Ends the process; an object that was entered is exited before. */
async function leave(code) {
  if (isLeaving) return;
  isLeaving = true;
  try {
    await instance?.exit?.();
  } catch (thrown) {
    const { type, message, traceback } = describe(thrown);
    console.error(traceback || `${type}: ${message}`);
  }
  flushLogs();
  socket.end(() => exit(code));
}

// ---- the conversation

async function start(header) {
  const began = performance.now();
  source = resolvePath(header.source);
  frameBytesMax = header.frame_bytes_max ?? frameBytesMax;
  Object.assign(process.env, header.env);
  slots = header.slots ?? 1;
  parameters = header.parameters ?? {};
  process.argv = [process.argv[0], header.handler];
  try {
    process.chdir(source);
  } catch {
    // The load says what is missing.
  }
  try {
    handler = await load(header.handler);
    if (process.env.BERTH_WEB) {
      const { openWeb } = await import('./berth-worker-web.mjs');
      const answer = await openWeb(handler);
      isWeb = true;
      handler = (token) => answer(token, context().signal);
    }
  } catch (error) {
    if (isLeaving) return;
    instance = undefined; // What was not entered is not exited.
    flushLogs();
    send({ type: 'init_failed', error: describeLoad(error, loading) });
    return void leave(1);
  }
  flushLogs();
  send({ type: 'ready', init_ms: Math.round(performance.now() - began) });
  next();
}

/**
 * An error of the load. Node tells the place of a SyntaxError in an ES module only to who starts it, so where the
 * error has none, `node --check` is asked about the module and then about the other files of the source.
 */
function describeLoad(error, file) {
  const described = describe(error);
  if (!(error instanceof SyntaxError) || /^\S+:\d+\n/.test(described.traceback)) return described;
  const others = sourceFiles().filter((each) => each !== file);
  const until = Date.now() + CHECK_MS_MAX;
  for (const each of file ? [file, ...others] : others) {
    if (Date.now() > until) break;
    const checked = spawnSync(process.execPath, ['--check', each], {
      encoding: 'utf8',
      timeout: CHECK_MS_MAX,
    });
    if (checked.status === 0 || !checked.stderr.includes('SyntaxError')) continue;
    const text = checked.stderr.split(/\n\s+at |\n\nNode\.js v/)[0].trimEnd();
    return { ...described, traceback: withoutSource(text) };
  }
  return described;
}

function sourceFiles() {
  const files = readdirSync(source, { recursive: true, withFileTypes: true });
  return files
    .filter((entry) => entry.isFile() && EXTENSIONS.includes(extname(entry.name)))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => !path.includes('/node_modules/'));
}

function take(header, payload) {
  switch (header.type) {
    case 'input':
    case 'batch':
      if (waiting.length > 0 || isStopping || openSlots() <= 0) waiting.push([header, payload]);
      else begin(header, payload);
      return;
    case 'start':
      void start(header);
      return;
    case 'cancel': {
      const cancelled = running.get(header.input_id);
      if (cancelled) return cancel(cancelled, header.input_id);
      const index = waiting.findIndex(([input]) => input.input_id === header.input_id);
      if (index < 0) return;
      const [[input]] = waiting.splice(index, 1);
      const error = describe(cancellation());
      send({ type: 'failure', input_id: input.input_id, attempt: input.attempt, error, run_us: 0 });
      return;
    }
    case 'recorded':
      return recorded(running.get(header.input_id), header.items);
    case 'stop':
      isStopping = true;
      if (!handler) exit(0);
      next();
  }
}

process.on('uncaughtException', onUncaught);
process.on('unhandledRejection', onUncaught);
process.on('SIGTERM', () => {
  isStopping = true;
  if (!handler) exit(0);
  next();
});
process.exit = onExitCalled;
Object.defineProperty(globalThis, 'berth', { value: Object.freeze({ context }) });
for (const [name, fd] of [
  ['stdout', 1],
  ['stderr', 2],
]) {
  const stream = new LogStream(name, fd);
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream });
}

const token = process.env.BERTH_RUN_TOKEN ?? '';
// So that user code that prints its environment does not print it.
delete process.env.BERTH_RUN_TOKEN;
send({ type: 'hello', token, runtime: 'node', version: process.versions.node, pid: process.pid });
socket.on('data', (chunk) => receive(chunk, take));
// The runner is gone: nobody pays for or hears of what runs here.
socket.on('error', () => exit(1));
socket.on('close', () => isLeaving || exit(1));
