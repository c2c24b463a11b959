/**
 * Web endpoints in Berth's Node worker, with nothing installed. A web request comes as an input of format `web`, and
 * gets its outcome as one; the request and the response themselves pass over a connection of their own, which is opened
 * with the token in the input's payload. What one side does not read holds the other up.
 */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';

const PIECE_BYTES = 65536;

function connectTo(address) {
  const tcp = /^tcp:\/\/\[?(.+?)\]?:(\d+)$/.exec(address);
  return tcp ? connect({ host: tcp[1], port: Number(tcp[2]), noDelay: true }) : connect({ path: address });
}

/** As the worker calls it when an input is cancelled. */
class InputCancellation extends Error {
  name = 'InputCancellation';

  constructor() {
    super('the input was cancelled');
  }
}

/** The connection of one request. */
class Session {
  #socket;
  #frames;
  #gone = new AbortController();
  #isClosing = false;

  constructor(address, token, cancelled) {
    this.#socket = connectTo(address);
    this.#socket.on('error', () => {}); // A close follows, and ends who reads or writes.
    this.#socket.on('close', () => {
      if (!this.#isClosing) this.#gone.abort(new InputCancellation());
    });
    this.#frames = this.#read();
    void this.send({ type: 'session', token });
    cancelled.addEventListener('abort', () => this.#socket.destroy(), { once: true });
  }

  /** Aborted when the client goes away, or the input is cancelled. */
  get signal() {
    return this.#gone.signal;
  }

  async *#read() {
    let gathered = Buffer.alloc(0);
    try {
      for await (const chunk of this.#socket) {
        gathered = gathered.length > 0 ? Buffer.concat([gathered, chunk]) : chunk;
        while (gathered.length >= 8) {
          const end = 4 + gathered.readUInt32BE(0);
          if (gathered.length < end) break;
          const headerEnd = 8 + gathered.readUInt32BE(4);
          yield {
            header: JSON.parse(gathered.toString('utf8', 8, headerEnd)),
            payload: gathered.subarray(headerEnd, end),
          };
          gathered = gathered.subarray(end);
        }
      }
    } catch {
      // It broke: that is an end, too.
    }
  }

  /** The next frame; undefined when the other side has gone. */
  async receive() {
    return (await this.#frames.next()).value;
  }

  /** Resolves when there is room for more. */
  async send(header, payload = Buffer.alloc(0)) {
    if (this.#socket.destroyed) throw new InputCancellation();
    const head = Buffer.from(JSON.stringify(header));
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32BE(4 + head.length + payload.length, 0);
    prefix.writeUInt32BE(head.length, 4);
    if (this.#socket.write(Buffer.concat([prefix, head, payload]))) return;
    const settled = new AbortController();
    const { signal } = settled;
    await Promise.race([once(this.#socket, 'drain', { signal }), once(this.#socket, 'close', { signal })]);
    settled.abort();
    if (this.#socket.destroyed) throw new InputCancellation();
  }

  async sendBody(data) {
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      await this.send({ type: 'body' }, data.subarray(at, at + PIECE_BYTES));
    }
  }

  /** Resolves when all that was sent has been taken. What is closed with words unread in it is reset instead. */
  async close() {
    // One that broke says so in a moment, and whoever listens hears of it.
    if (this.#socket.destroyed) return this.#gone.abort(new InputCancellation());
    this.#isClosing = true;
    this.#socket.end();
    while (await this.receive());
    this.#socket.destroy();
  }
}

/** What answers the inputs of a web endpoint: `(token, signal) => Promise`. Rejects where it cannot be one. */
export async function openWeb(handler) {
  const { kind, method, port } = JSON.parse(process.env.BERTH_WEB);
  const address = process.env.BERTH_WEB_SOCKET;
  delete process.env.BERTH_WEB;
  delete process.env.BERTH_WEB_SOCKET;
  if (kind === 'server') await startServer(handler, port);
  const answer = kind === 'server' ? passOn(port) : callEndpoint(handler, method);
  return async (token, signal) => {
    const session = new Session(address, token, signal);
    try {
      const head = (await session.receive())?.header;
      if (!head) throw new InputCancellation();
      await answer(session, head, session.signal);
    } finally {
      await session.close();
    }
  };
}

// ---- an endpoint: from Request to Response

const callEndpoint = (handler, method) => {
  const methods = method === 'GET' ? ['GET', 'HEAD'] : [method];
  return async (session, head, signal) => {
    if (!methods.includes(head.method)) {
      return answer(session, 405, [['allow', methods.join(', ')]], '{"detail":"Method Not Allowed"}');
    }
    return sendResult(session, await handler(requestOf(session, head, signal)));
  };
};

function requestOf(session, head, signal) {
  const url = `${head.scheme}://${head.authority}${head.path}${head.query ? `?${head.query}` : ''}`;
  const init = { method: head.method, headers: head.headers, signal };
  if (head.method !== 'GET' && head.method !== 'HEAD') {
    init.duplex = 'half';
    init.body = new ReadableStream(
      {
        type: 'bytes',
        async pull(controller) {
          const frame = await session.receive();
          if (!frame) return controller.error(new Error('the client went away in the middle of its request'));
          if (frame.header.type === 'end') {
            controller.close();
            controller.byobRequest?.respond(0);
          } else controller.enqueue(new Uint8Array(frame.payload));
        },
      },
      { highWaterMark: 0 },
    );
  }
  return new Request(url, init);
}

async function sendResult(session, result) {
  if (typeof result?.status === 'number' && typeof result.headers?.entries === 'function') {
    await session.send({ type: 'response', status: result.status, headers: [...result.headers.entries()] });
    return sendPieces(session, result.body ?? []);
  }
  if (typeof result === 'string')
    return answer(session, 200, [['content-type', 'text/plain; charset=utf-8']], result);
  if (result instanceof Uint8Array) {
    return answer(session, 200, [['content-type', 'application/octet-stream']], result);
  }
  if (typeof result?.next === 'function') {
    const headers = [['content-type', 'text/plain; charset=utf-8']];
    await session.send({ type: 'response', status: 200, headers });
    return sendPieces(session, result);
  }
  return answer(session, 200, [['content-type', 'application/json']], JSON.stringify(result ?? null));
}

async function sendPieces(session, pieces) {
  for await (const piece of pieces) {
    await session.sendBody(typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece));
  }
  await session.send({ type: 'end' });
}

async function answer(session, status, headers, body) {
  const bytes = Buffer.from(body);
  const length = ['content-length', String(bytes.length)];
  await session.send({ type: 'response', status, headers: [...headers, length] });
  await session.sendBody(bytes);
  await session.send({ type: 'end' });
}

// ---- a server of the user's on a port

const HOST = '127.0.0.1';

const listens = (port) =>
  new Promise((resolve) => {
    const trial = connect({ host: HOST, port });
    trial.once('connect', () => resolve(true) ?? trial.destroy());
    trial.once('error', () => resolve(false));
  });

async function startServer(handler, port) {
  if (await listens(port)) {
    throw new Error(`port ${port} is in use before the handler was called: choose another`);
  }
  let failed;
  // Not awaited: a handler may serve for as long as it runs.
  Promise.resolve(handler()).catch((error) => (failed = { error }));
  for (let pauseMs = 2; !(await listens(port)); pauseMs = Math.min(pauseMs * 1.5, 100)) {
    if (failed) throw failed.error;
    // No event says that a port is listened on. The runner ends a start that takes too long.
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

const passOn = (port) => async (session, head, signal) => {
  const headers = head.headers.flat();
  const isTunnel = head.upgrade === 'raw';
  let frame = isTunnel ? undefined : await session.receive();
  if (!isTunnel) headers.push('connection', 'close');
  const hasLength = head.headers.some(([name]) => name.toLowerCase() === 'content-length');
  if (frame?.header.type === 'body' && !hasLength) headers.push('transfer-encoding', 'chunked');
  const path = head.path + (head.query ? `?${head.query}` : '');
  const passed = httpRequest({ host: HOST, port, method: head.method, path, headers, agent: false, signal });

  const answered = new Promise((resolve, reject) => {
    passed.once('response', (response) => resolve({ response }));
    passed.once('upgrade', (response, socket, first) => resolve({ response, socket, first }));
    passed.once('error', reject);
  });
  answered.catch(() => {});
  const up = async () => {
    for (; frame?.header.type === 'body'; frame = await session.receive()) {
      if (!passed.write(frame.payload)) {
        await Promise.race([once(passed, 'drain'), once(passed, 'close')]);
      }
    }
    if (frame) passed.end();
    else if (!isTunnel) passed.destroy();
  };
  if (isTunnel) passed.end();
  else void up().catch(() => passed.destroy());

  const { response, socket, first } = await answered;
  const pairs = [];
  for (let at = 0; at < response.rawHeaders.length; at += 2) {
    pairs.push([response.rawHeaders[at], response.rawHeaders[at + 1]]);
  }
  await session.send({ type: 'response', status: response.statusCode, headers: pairs });
  if (socket) return tunnel(session, socket, first);
  return sendPieces(session, response);
};

async function tunnel(session, socket, first) {
  socket.on('error', () => socket.destroy());
  const up = async () => {
    for (
      let frame = await session.receive();
      frame?.header.type === 'body';
      frame = await session.receive()
    ) {
      if (!socket.write(frame.payload)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
    }
    socket.end();
  };
  void up().catch(() => socket.destroy());
  if (first.length > 0) await session.sendBody(first);
  await sendPieces(session, socket);
}
