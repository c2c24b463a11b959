export { FRAME_BYTES_MAX, FrameDecoder, ProtocolError, encodeFrame, writeFrame } from './frame';
export type { Frame, FrameLimits } from './frame';
export { parseWorkerMessage } from './messages';
export type { RunnerMessage, Runtime, UserError, WorkerMessage } from './messages';
export { parseSessionMessage } from './session-messages';
export type { SessionRequest, SessionWorkerMessage } from './session-messages';
export { SessionConnection, SessionLost, SessionServer, listenForSessions } from './session-server';
export { WORKER_FOLDER_INSIDE, pythonModule, workerCommand, workerFiles, workerFolder } from './worker-files';
export { WorkerConnection, WorkerServer, listenForWorker } from './worker-server';
export type {
  Closed,
  Endpoint,
  InputOutcome,
  ListenOptions,
  LogChunk,
  StartOptions,
  StartOutcome,
  WorkerInput,
  WorkerItem,
} from './worker-server';
