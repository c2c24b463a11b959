export * from './engine';
export * from './images';
export * from './open';
