export * from './berth';
export * from './credentials';
export { FunctionFailed, type Arguments } from './failed';
export { BerthApiError } from './http';
export * from './secrets';
export type { Inputs, MapOptions, OutputsOptions } from './map';
export * from './types';
export { isSource, listFiles, type UploadProgress } from './upload';
export * from './volumes';
