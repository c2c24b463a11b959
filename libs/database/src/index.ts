export * from './database';
export * from './idempotency';
export * from './ids';
export * from './page';
