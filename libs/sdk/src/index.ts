export * from './berth';
export * from './credentials';
export { BerthApiError } from './http';
export * from './secrets';
export * from './types';
export { listFiles, type UploadProgress } from './upload';
