export * from './consume';
export * from './nats';
export * from './outbox';
