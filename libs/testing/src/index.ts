export * from './servers';
export * from './test-bed';
