// The far ends of the bare hops, in a process of their own as the platform's are: an HTTP server and a gRPC server
// that answer with what they got. Prints their addresses as one line of JSON.
import { createServer } from 'node:http';
import { rmSync } from 'node:fs';
import grpc from '@grpc/grpc-js';

const socket = process.argv[2];
const identity = (bytes) => bytes;
const echo = {
  path: '/bench.Echo/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
};

const http = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(Buffer.concat(parts)),
  );
});
await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));

rmSync(socket, { force: true });
const server = new grpc.Server();
server.addService({ echo }, { echo: (call, callback) => callback(null, call.request) });
await new Promise((resolve, reject) =>
  server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
    error ? reject(error) : resolve(),
  ),
);
console.log(JSON.stringify({ httpPort: http.address().port }));
process.stdin.on('end', () => process.exit(0)).resume();
