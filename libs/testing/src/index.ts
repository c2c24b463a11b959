export * from './ask';
export * from './servers';
export * from './test-bed';
