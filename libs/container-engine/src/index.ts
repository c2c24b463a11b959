export * from './base-image';
export * from './engine';
export * from './open';
export { connectDocker } from './docker/docker-engine';
export { PROCESS_ENGINE_WARNING } from './process/process-engine';
